"""Kill -9 of the node at named points inside of a block: all of the block is there, or nothing."""

import signal
import subprocess
import sys
import textwrap

import pytest
from eth_account import Account

from ledger.account import new_key
from ledger.embedded.check import check
from ledger.embedded.engine import Engine
from ledger.embedded.store import Store
from tests.simulators.ledger.network import CHAIN_ID, START

WRITER = """
import os, signal, sys
from pathlib import Path
from ledger.embedded.engine import Engine
from ledger.embedded.genesis import Genesis
from ledger.embedded.store import Store

folder, point, *raws = sys.argv[1:]
store = Store(Path(folder) / "chain.sqlite")
engine = Engine(store, Genesis(chain_id={chain}, timestamp={start}))
transactions = [engine.decode(bytes.fromhex(raw)) for raw in raws]
engine.mine(transactions[:1], now={start} + 10)
print(engine.head.hash.hex(), flush=True)

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def after(function, count=1):
    calls = []
    def wrapped(*arguments, **named):
        result = function(*arguments, **named)
        calls.append(1)
        if len(calls) >= count:
            die()
        return result
    return wrapped

class Db:
    # The connection, dying before or after a statement.
    def __init__(self, db): self.db = db
    def __getattr__(self, name): return getattr(self.db, name)
    def execute(self, statement, *arguments):
        if point == "before commit" and statement == "commit": die()
        result = self.db.execute(statement, *arguments)
        if point == "after begin" and statement == "begin immediate": die()
        if point == "after commit" and statement == "commit": die()
        return result

if point == "after execution": engine._execute = after(engine._execute)
elif point == "between trie nodes": Store.__setitem__ = after(Store.__setitem__, 5)
elif point == "between rows": store.insert = after(store.insert, 2)
elif point == "after all rows": store.insert_block = after(store.insert_block)
else: store._db = Db(store._db)
engine.mine(transactions[1:], now={start} + 20)
"""

POINTS = {
    "after begin": 1,
    "after execution": 1,
    "between trie nodes": 1,
    "between rows": 1,
    "after all rows": 1,
    "before commit": 1,
    "after commit": 2,
}
"""Where the process dies, and the height that the chain has then."""


def transfers(count):
    account = Account.from_key(new_key())
    for nonce in range(count):
        values = {"type": 2, "chainId": CHAIN_ID, "nonce": nonce, "gas": 30_000, "value": 0}
        values |= {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0, "to": "0x" + "11" * 20}
        yield bytes(account.sign_transaction(values).raw_transaction).hex()


@pytest.mark.parametrize("point", POINTS)
def test_killed_in_a_block(tmp_path, point):
    program = textwrap.dedent(WRITER).format(chain=CHAIN_ID, start=START)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), point, *transfers(6)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    found = check(tmp_path / "chain.sqlite")
    assert found.faults == ()
    assert found.head[0] == POINTS[point]
    engine = Engine(Store(tmp_path / "chain.sqlite"))
    first = engine.header(1)
    assert first.hash.hex() == done.stdout.strip()
    engine.store.close()
