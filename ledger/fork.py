"""Two histories of one ledger: what hospitals show each other, and the evidence when they differ.

A coordinator that shows hospitals different blocks has signed both. Neither hospital can see it
alone; the two files that they exchange prove it to anyone, offline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger import verify
from ledger.evidence import as_json
from ledger.rpc import Rpc
from ledger.tip import KIND as TIP_KIND
from ledger.tip import TipStatement
from ledger.witness import Votes
from twinward import canonical
from twinward.errors import EvidenceError, UsageError
from twinward.signing import Document

MOST_TIPS = 200
MOST_HEADERS = 2_000
_A_REQUEST = 200


@dataclass(frozen=True, slots=True)
class Statements:
    """What a hospital saw: signed tips, oldest first, and the headers of its own node."""

    tips: tuple[Document, ...]
    headers: Mapping[int, bytes]

    @classmethod
    def collect(cls, votes: Votes, own: Rpc) -> Statements:
        """The newest tips of this witness, and the last headers up to the last of them.

        Raises:
            LedgerUnreachable: TW5001, the own node does not answer.
        """
        tips = [Document.decode(tip, kind=TIP_KIND) for tip in votes.tips(most=MOST_TIPS)]
        if not tips:
            return cls((), {})
        newest = TipStatement.read(tips[-1]).number
        last = min(newest, int(own.call("eth_blockNumber"), 16))
        wanted = range(max(1, last - MOST_HEADERS + 1), last + 1)
        headers: dict[int, bytes] = {}
        for start in range(0, len(wanted), _A_REQUEST):
            some = wanted[start : start + _A_REQUEST]
            raws = own.batch("debug_getRawHeader", [[hex(number)] for number in some])
            headers |= {n: bytes.fromhex(raw[2:]) for n, raw in zip(some, raws, strict=True)}
        return cls(tuple(tips), headers)

    def encode(self) -> bytes:
        """The file that `decode` reads; nothing in it is about patients."""
        headers = {str(number): f"0x{raw.hex()}" for number, raw in self.headers.items()}
        return canonical.encode({"tips": [as_json(tip) for tip in self.tips], "headers": headers})

    @classmethod
    def decode(cls, data: bytes, *, at: str) -> Statements:
        """Read such a file; nothing in it is believed before `evidence` has verified it.

        Raises:
            UsageError: TW3564.
        """
        value: Any = canonical.decode(data, at=at)
        try:
            tips = tuple(
                Document.decode(canonical.encode(tip), kind=TIP_KIND, at=at)
                for tip in value["tips"]
            )
            headers = {int(n): bytes.fromhex(raw[2:]) for n, raw in value["headers"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                "this is not a hospital's file of statements",
                code="TW3564",
                at=at,
                help="make it with `twinward node statements` at the hospital",
            ) from error
        return cls(tips, headers)


def evidence(mine: Statements, theirs: Statements, *, founding: bytes) -> bytes | None:
    """The archive that proves that somebody signed two histories; None if nothing contradicts.

    Raises:
        EvidenceError: TW3565, the statements contradict each other but do not verify as evidence.
    """
    pair = _contradiction(mine, theirs) or _contradiction(theirs, mine)
    if pair is None:
        return None
    first, second, headers = pair
    record = {
        "first": as_json(first),
        "second": as_json(second),
        "headers": [f"0x{header.hex()}" for header in headers],
    }
    archive = verify.write_archive(
        {verify.FORK: canonical.encode(record), "founding.json": founding}
    )
    report = verify.verify_bytes(archive, founding=founding)
    if not report.ok:
        raise EvidenceError(
            f"the two files contradict each other, but prove nothing: {report.faults[0].message}",
            code="TW3565",
            note=report.faults[0].code,
            help="one of the files was changed or is of another network: fetch it again",
        )
    return archive


def _contradiction(
    lower: Statements, higher: Statements
) -> tuple[Document, Document, list[bytes]] | None:
    """A tip of one side, and a later or equal one of the other that stands on another block."""
    for first in lower.tips:
        one = TipStatement.read(first)
        for second in reversed(higher.tips):
            other = TipStatement.read(second)
            if other.number < one.number:
                break
            if other.number == one.number:
                if other.hash != one.hash:
                    return first, second, []
                continue
            headers = [higher.headers.get(n) for n in range(one.number + 1, other.number + 1)]
            found = [header for header in headers if header is not None]
            if len(found) < len(headers):
                continue
            if verify.rlp_decode(found[0])[0] != one.hash:
                return first, second, found
            break
    return None
