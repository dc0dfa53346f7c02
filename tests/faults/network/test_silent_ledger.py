"""A ledger that takes calls and never answers must not hold up steps and withdrawals."""

import socket
import threading
import time

import pytest

from ledger.mirror import Mirror
from ledger.rpc import Rpc
from ledger.tip import Tip
from twinward.errors import LedgerError
from twinward.signing import Identity

GENESIS = b"\7" * 32


@pytest.fixture
def silent():
    """The address of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_the_copy_can_be_read_while_the_ledger_is_waited_for(tmp_path, silent):
    rpc = Rpc(silent, timeout=3.0)
    mirror = Mirror(tmp_path / "mirror", rpc=rpc, genesis=GENESIS, contract=b"\1" * 20)
    coordinator = Identity.generate()
    now = time.time()
    tip = Tip(5, b"\5" * 32, b"\6" * 32, int(now)).statement(genesis=GENESIS, now=now)
    refused = []

    def check():
        try:
            mirror.check(
                tip.signed_by(coordinator),
                signer=coordinator.public,
                now=now,
                max_age_seconds=30,
            )
        except LedgerError as error:
            refused.append(error.code)

    waiting = threading.Thread(target=check)
    waiting.start()
    time.sleep(0.3)
    began = time.monotonic()
    assert mirror.slot(b"\2" * 32, b"\3" * 20) is None
    assert mirror.head == bytes(32)
    assert mirror.changes(0) == []
    assert time.monotonic() - began < 0.5
    assert waiting.is_alive()  # it was waited for all the time
    waiting.join(10)
    assert refused == ["TW5001"]
    mirror.close()
    rpc.close()
