"""A change of contract addresses: one document that every active hospital signed, never replaced.

A move names the founding file and the chain, counts from 1, and says which addresses gave way to
which from what block on. All hospitals sign it but those that the others suspended on the ledger,
whom it names: whoever checks it later counts the same. What patients signed names the contract
``Consent``, and the votes of members are in ``Membership``; those two never move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from twinward import canonical
from twinward.errors import IdentityError, LedgerError, UsageError
from twinward.files import write_atomic
from twinward.founding import Founding
from twinward.ids import Fingerprint, is_hex32
from twinward.signing import Document

KIND = "twinward/moved/v1"
FILE = "moves.json"
"""Beside ``founding.json`` in a folder, and the record of an evidence pack, byte for byte."""

MOVABLE = ("provenance", "audit_anchor")
"""Contracts that may move. A new ``Provenance`` reads the one before it: ``before`` names that."""

_FIELDS = {
    *("version", "genesis", "founding", "number", "old", "new"),
    *("block", "reason", "signers", "suspended"),
}
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Move:
    """The content of a move document.

    Attributes:
        document: With whatever signatures it carries.
        number: From 1, without a gap.
        old: Every address before it, by the contract's name in the founding file.
        new: Every address after it.
        block: The ledger's block from which the new ones count.
        reason: For people.
        signers: Hospitals that have to sign.
        suspended: Hospitals that need not: the others suspended them.
    """

    document: Document
    number: int
    old: Mapping[str, str]
    new: Mapping[str, str]
    block: int
    reason: str
    signers: tuple[Fingerprint, ...]
    suspended: tuple[Fingerprint, ...]

    @property
    def contracts(self) -> tuple[str, ...]:
        """Names of the contracts that it moves."""
        return tuple(name for name in MOVABLE if self.old[name] != self.new[name])


def propose(
    founding: Founding,
    *,
    addresses: Mapping[str, str],
    block: int,
    reason: str,
    suspended: Sequence[Fingerprint],
) -> Document:
    """What the hospitals are asked to sign.

    Args:
        founding: The network as it is now.
        addresses: The new address of each contract that moves.
        block: From which block on.
        reason: In words, at most 500 characters.
        suspended: Hospitals that the others suspended.

    Raises:
        LedgerError, UsageError: As ``read``.
    """
    old = dict(founding.contracts)
    new = {**old, **addresses}
    if new["provenance"] != old["provenance"]:
        new["before"] = old["provenance"]
    active = [one.fingerprint for one in founding.hospitals if one.fingerprint not in suspended]
    document = Document(
        KIND,
        {
            "version": 1,
            "genesis": founding.chain["genesis_hash"],
            "founding": founding.digest.hex(),
            "number": len(founding.moves) + 1,
            "old": old,
            "new": new,
            "block": block,
            "reason": reason,
            "signers": sorted(active),
            "suspended": sorted(suspended),
        },
    )
    read(founding, document)
    return document


def read(founding: Founding, document: Document, *, at: str = "move") -> Move:
    """The move, if it is the next one of this network; signatures are not looked at.

    Raises:
        UsageError: TW3510, not a move, or of more than may move.
        LedgerError: TW3511, of another network, or not the next move after those that are known.
    """
    move = _parse(document, at=at)
    here = (str(founding.chain["genesis_hash"]), founding.digest.hex())
    if (document.payload["genesis"], document.payload["founding"]) != here:
        raise not_next("it is of another network", at=at)
    if move.number != len(founding.moves) + 1:
        raise not_next(f"it is move {move.number}, and {len(founding.moves)} were made here", at=at)
    if move.old != dict(founding.contracts):
        raise not_next("the addresses that it replaces are not those in force here", at=at)
    hospitals = {one.fingerprint for one in founding.hospitals}
    if not {*move.signers, *move.suspended} <= hospitals:
        raise not_next("it names hospitals that are not of this network", at=at)
    return move


def require_everyone(founding: Founding, move: Move, *, suspended: Sequence[Fingerprint]) -> None:
    """Require that it asks for exactly the hospitals that are active on the ledger now.

    Raises:
        IdentityError: TW3512.
    """
    active = {one.fingerprint for one in founding.hospitals} - set(suspended)
    if set(move.signers) != active or set(move.suspended) != set(suspended):
        raise IdentityError(
            "the move does not ask for the signatures of exactly the active hospitals",
            code="TW3512",
            help="refuse it; compare `twinward node status` of the hospitals, and have the"
            " coordinator make a new one",
        )


def require_signed(founding: Founding, move: Move) -> None:
    """Require the valid signature of every hospital that has to sign.

    Raises:
        IdentityError: TW2002 a signature is wrong, TW2004 one is missing.
    """
    hospitals = {one.fingerprint: one.identity for one in founding.hospitals}
    for fingerprint in move.signers:
        move.document.verify(hospitals[fingerprint])


def moved(founding: Founding, documents: Sequence[Document]) -> Founding:
    """The network after these moves, in this order, every signature checked.

    Raises:
        UsageError, LedgerError, IdentityError: What ``read`` and ``require_signed`` raise.
    """
    for document in documents:
        require_signed(founding, read(founding, document))
        founding = replace(founding, moves=(*founding.moves, document))
    return founding


def merge(documents: Sequence[Document]) -> Document:
    """One move with the signatures of all copies.

    Raises:
        IdentityError: TW2012, the copies are not of one document.
    """
    first, *others = documents
    if any(one.digest != first.digest for one in others):
        raise IdentityError(
            "a signed copy is of a different move",
            code="TW2012",
            help="send every hospital the same file and have each sign that one",
        )
    signatures = dict(signature for one in documents for signature in one.signatures)
    return Document(first.kind, first.payload, tuple(sorted(signatures.items())))


def encode(documents: Sequence[Document]) -> bytes:
    """Moves in their order as one canonical record."""
    return canonical.encode({"moves": [canonical.decode(one.encode()) for one in documents]})


def decode(data: bytes, *, at: str) -> list[Document]:
    """The other way round; nothing is checked but the form.

    Raises:
        UsageError: TW1011, TW1012, TW3510.
    """
    value = canonical.decode(data, at=at)
    if not isinstance(value, dict) or set(value) != {"moves"}:
        raise _strange(at)
    if not isinstance(value["moves"], list):
        raise _strange(at)
    return [Document.decode(canonical.encode(one), kind=KIND, at=at) for one in value["moves"]]


def records(founding: Founding) -> dict[str, bytes]:
    """What goes into an evidence pack beside the founding file; nothing if nothing moved."""
    return {FILE: encode(founding.moves)} if founding.moves else {}


def with_moves(founding: Founding, folder: Path) -> Founding:
    """The network as this folder knows it, with what moved since.

    Raises:
        UsageError, LedgerError, IdentityError: What ``decode`` and ``moved`` raise.
    """
    path = folder / FILE
    if not path.exists():
        return founding
    return moved(founding, decode(path.read_bytes(), at=str(path)))


def keep(folder: Path, founding: Founding) -> None:
    """Write what moved, durably, for ``with_moves``."""
    write_atomic(folder / FILE, encode(founding.moves))


def _parse(document: Document, *, at: str) -> Move:
    payload = document.payload
    good = (
        document.kind == KIND
        and set(payload) == _FIELDS
        and payload["version"] == 1
        and _counts(payload["number"])
        and _counts(payload["block"])
        and isinstance(payload["reason"], str)
        and 0 < len(payload["reason"]) <= _LONGEST_REASON
        and all(_are_addresses(payload[name]) for name in ("old", "new"))
        and all(_are_names(payload[name]) for name in ("signers", "suspended"))
        and not set(payload["signers"]) & set(payload["suspended"])
        and 2 * len(payload["signers"]) > len(payload["signers"]) + len(payload["suspended"])
    )
    if not good:
        raise _strange(at)
    old, new = dict(payload["old"]), dict(payload["new"])
    move = Move(
        document=document,
        number=payload["number"],
        old=old,
        new=new,
        block=payload["block"],
        reason=payload["reason"],
        signers=tuple(map(Fingerprint, payload["signers"])),
        suspended=tuple(map(Fingerprint, payload["suspended"])),
    )
    expected = {**old, **{name: new[name] for name in MOVABLE}}
    if "provenance" in move.contracts:
        expected["before"] = old["provenance"]
    used = {*old.values()}
    if new != expected or not move.contracts or any(new[name] in used for name in move.contracts):
        raise _strange(at)
    return move


def _counts(value: Any) -> bool:
    return type(value) is int and value > 0


def _are_addresses(value: Any) -> bool:
    names = {"membership", "consent", *MOVABLE}
    return (
        isinstance(value, dict)
        and names <= set(value) <= {*names, "before"}
        and all(
            isinstance(one, str) and one[:2] == "0x" and is_hex32(one[2:].rjust(64, "0"))
            and len(one) == 42
            for one in value.values()
        )
    )  # fmt: skip


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_hex32, value)) and value == sorted(set(value))


def _strange(at: str) -> UsageError:
    return UsageError(
        "this is not a move of contracts that may move",
        code="TW3510",
        at=at,
        help="sign nothing; ask the coordinator for the file of `twinward server move`, unedited",
    )


def not_next(why: str, *, at: str) -> LedgerError:
    """The one error for a move that cannot follow what is in force here."""
    return LedgerError(
        f"this is not the next move of this network: {why}",
        code="TW3511",
        at=at,
        help="refuse it; only a move of the addresses that are in force here, with the next"
        " number, can be signed or taken over",
    )
