"""The one gate: every byte that leaves this hospital passes here and is written down.

A channel is allowed by name and kind with a largest size; anything else does not leave. The log
holds what, when, to whom and how many bytes, never the content. The gate is inside the
application: the firewall rules of the deployment guide enforce it below.
"""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path
from typing import Final

from hospital_node.paths import NodePaths
from twinward.clock import Clock, iso
from twinward.errors import InternalError

MEGABYTE: Final = 1_000_000
ALLOWED: Final = {
    # channel, kind: largest message in bytes
    ("secure-sum", "hello"): 4_096,
    ("secure-sum", "advertise"): 4_096,
    ("secure-sum", "masked"): 100 * MEGABYTE,
    ("secure-sum", "data"): MEGABYTE,
    ("secure-sum", "close"): 4_096,
    ("flower", "closing"): 100 * MEGABYTE,
    ("ledger", "grants"): 10 * MEGABYTE,
    ("ledger", "withdrawals"): MEGABYTE,
    ("ledger", "approval"): 4_096,
    ("ledger", "reservation"): 4_096,
    ("ledger", "audit-head"): 4_096,
    ("ledger", "fence"): 4_096,
    ("ledger", "validation"): 4_096,
    ("ledger", "co-signature"): MEGABYTE,
    ("ledger", "cap"): 4_096,
    ("ledger", "retraining"): 4_096,
    ("ledger", "dataset"): 4_096,
    ("desk", "reply"): MEGABYTE,
    ("mail", "notice"): 16_384,
    ("network", "join-request"): 65_536,
    ("network", "endorsement"): 65_536,
    ("network", "renewal"): 65_536,
    ("network", "leaving"): 4_096,
    ("network", "absence"): 4_096,
    ("ledger", "endorsement"): 4_096,
}
"""Nothing data-dependent but ``masked`` and ``data``, which are noised and masked, is among them;
``grants`` and ``withdrawals`` are what patients signed, for the ledger; ``notice`` tells a patient
who asked for it that there is something new, and not what; ``dataset`` is a salted root that says
nothing without this hospital's key; ``retraining`` says that somebody of a shard withdrew."""


class Egress:
    """Writes down each message before it leaves; refuses what is not on the list."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._clock = clock
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = os.fdopen(descriptor, "a", encoding="utf-8")

    def let_out(self, channel: str, kind: str, *, to: str, size: int) -> None:
        """Note one message of ``size`` bytes; call before sending it.

        Raises:
            InternalError: TW9001, the channel is not allowed or the message too large.
        """
        largest = ALLOWED.get((channel, kind))
        if largest is None or size > largest:
            raise InternalError(
                f"{size} bytes of `{kind}` may not leave by `{channel}`",
                code="TW9001",
                help="nothing was sent; report this, the node's list of channels is in egress.py",
            )
        entry = {"at": iso(self._clock.now()), "channel": channel, "kind": kind, "to": to}
        self._file.write(json.dumps({**entry, "bytes": size}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the log."""
        self._file.close()


def note(folder: Path, channel: str, kind: str, *, to: str, size: int, clock: Clock) -> None:
    """Note one message that a command sends; the node may be up. Call before sending it.

    Raises:
        InternalError: TW9001.
    """
    with closing(Egress(NodePaths(folder).egress_log, clock=clock)) as gate:
        gate.let_out(channel, kind, to=to, size=size)
