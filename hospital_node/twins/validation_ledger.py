"""A report's digest on the ledger, and the proof that anyone can check without a network.

Recorded as evidence (kind ``PACK``) whose parent is the release that was measured, by the
hospital's own account: nobody learns from it what the figures are. The proof beside the report is
the same as in an evidence pack: a block that the coordinator signed, its header, and the storage
proof of the record under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hospital_node.twins import validation
from hospital_node.twins.validation import Report
from hospital_node.twins.validation_files import Kept
from ledger import evidence, proofs, verify
from ledger.chain import Kind
from ledger.deployed import Addresses
from ledger.tip import KIND as TIP_KIND
from ledger.tip import TipStatement
from twinward import canonical
from twinward.clock import iso
from twinward.errors import EvidenceError
from twinward.founding import Founding
from twinward.signing import Document

if TYPE_CHECKING:
    from hospital_node.node import Node
    from ledger.rpc import Rpc

_CLAIM = "record"
_KIND_BITS, _ACCOUNT_BITS, _TIME_BITS = 8, 160, 64


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a proof shows: who recorded a report and when, by the ledger's clock."""

    org: str
    at: float
    block: int

    @property
    def words(self) -> str:
        """For the page."""
        return f"The ledger has held it since {iso(self.at)} (proved under block {self.block})."


def record(node: Node, rpc: Rpc, kept: Kept) -> Recorded:
    """Put a report's digest on the ledger, if it is not there, and keep the proof beside it.

    Raises:
        LedgerError: It did not answer or refused; the next tick tries again.
        CoordinatorUnreachable: TW6001, no signed block; likewise.
        EvidenceError: TW7178, what came back proves nothing.
    """
    report = kept.read()
    release = report.head.payload.get("release")
    if node.chain.recorded(report.digest) is None:
        parent = () if release is None else (bytes.fromhex(str(release)),)
        known = tuple(one for one in parent if node.chain.recorded(one) is not None)
        node.egress.let_out("ledger", "validation", to="ledger", size=200 + 32 * len(known))
        node.chain.record(report.digest, Kind.PACK, known)
    tip = node.follower.tip()
    tip.verify(node.founding.coordinator.identity)
    proof = evidence.ledger_record(
        rpc,
        [evidence.Claim(_CLAIM, "provenance", (verify.record_slot(report.digest),))],
        contracts=node.chain.contracts,
        tip=tip,
    )
    found = check(report, proof, founding=node.founding)
    kept.prove(proof, words=found.words)
    return found


def check(report: Report, proof: Mapping[str, Any], *, founding: Founding) -> Recorded:
    """Who recorded this report and when, from the proof and the founding file alone.

    Raises:
        IdentityError: TW2002, TW2004, the block is not signed by the coordinator.
        LedgerError: TW5041, the proof is broken.
        EvidenceError: TW7174, a section was changed; TW7178, it is about another report, network or
            account.
    """
    org = str(report.head.payload["org"])
    member = founding.member(org)
    validation.require_whole(report, signer=member.identity)
    try:
        (block,), (claim,) = proof["blocks"], proof["proofs"]
        tip = Document.decode(canonical.encode(block["tip"]), kind=TIP_KIND, at="proof")
        header = bytes.fromhex(str(block["header"]).removeprefix("0x"))
        storage = dict(claim["proof"])
    except (KeyError, TypeError, ValueError) as error:
        raise _not_proved("it is not complete") from error
    tip.verify(founding.coordinator.identity)
    statement = TipStatement.read(tip)
    if statement.genesis.hex() != founding.chain["genesis_hash"]:
        raise _not_proved("it is of another network")
    # Where the contracts stood or stand: a report that was recorded before they moved still is.
    known = [founding.chain["contracts"], *(move.payload["new"] for move in founding.moves)]
    address = str(storage.get("address")).lower()
    if address not in {Addresses.from_json(each).provenance for each in known}:
        raise _not_proved("it is about another contract")
    packed = proofs.storage_value(
        header,
        expected_hash=statement.hash,
        proof=storage,
        address=bytes.fromhex(address[2:]),
        slot=verify.record_slot(report.digest),
    )
    kind, rest = packed & (2**_KIND_BITS - 1), packed >> _KIND_BITS
    account = (rest & (2**_ACCOUNT_BITS - 1)).to_bytes(_ACCOUNT_BITS // 8, "big")
    at = (rest >> _ACCOUNT_BITS) & (2**_TIME_BITS - 1)
    if kind != Kind.PACK:
        raise _not_proved("the ledger does not hold its digest")
    if account.hex() != member.ledger_account.lower().removeprefix("0x"):
        raise _not_proved("another member recorded it")
    return Recorded(org=org, at=float(at), block=statement.number)


def _not_proved(reason: str) -> EvidenceError:
    return EvidenceError(
        f"this report is not shown to be on the ledger: {reason}",
        code="TW7178",
        help="give the `.ledger.json` that lies beside the report; the node writes it at the next "
        "tick of `twinward node up`",
    )
