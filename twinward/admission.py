"""Members who joined after the founding: each endorsed by the hospitals before it, never replaced.

An admission names the founding file, the candidate's signed keys and its certificate. All hospitals
but one, and at least two, sign it: the same rule as the contract ``Membership``, which asks for
votes of their accounts besides. So neither the coordinator, nor a ledger that it rewrote, can make
anybody a member: a reader counts the signatures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from twinward import canonical
from twinward.errors import IdentityError, UsageError
from twinward.files import write_atomic
from twinward.founding import HOSPITAL, Founding, Member, read_member, require_distinct
from twinward.moved import with_moves
from twinward.signing import Document

KIND = "twinward/admission/v1"
FILE = "admissions.json"
"""Beside ``founding.json`` in a folder, and the record of an evidence pack, byte for byte."""


def admission(founding: Founding, *, keys: Document, certificate: str) -> Document:
    """What hospitals are asked to sign for a candidate."""
    return Document(
        KIND,
        {
            "founding": founding.digest.hex(),
            "member": {"keys": as_json(keys), "certificate": certificate},
        },
    )


def as_json(document: Document) -> dict[str, Any]:
    """A document as a value inside another one."""
    value: dict[str, Any] = canonical.decode(document.encode(), at="document")
    return value


def candidate(founding: Founding, document: Document, *, at: str = "admission") -> Member:
    """The organisation that an admission to this network would let in; nobody need have signed.

    Raises:
        UsageError: TW6028, it is of another network or not complete.
        IdentityError: TW2001, TW2002, TW2004, TW2011, its keys contradict each other, or a member
            has one of them, or its name, already.
    """
    found = applicant(document, at=at)
    complete = set(document.payload) == {"founding", "member"}
    if not complete or document.payload["founding"] != founding.digest.hex():
        raise _strange(at)
    if found.role != HOSPITAL:
        raise _strange(at)
    require_distinct([*founding.members, found], at=at)
    return found


def applicant(document: Document, *, at: str = "admission") -> Member:
    """The organisation in an admission, by itself: not compared with anybody else.

    Raises:
        UsageError: TW6028, it is not complete.
        IdentityError: TW2001, TW2002, TW2004, TW2011.
    """
    try:
        return read_member(document.payload["member"], at=at)
    except (KeyError, TypeError, ValueError) as error:
        raise _strange(at) from error


def endorsers(founding: Founding, document: Document) -> list[Member]:
    """The hospitals whose valid signature the admission carries.

    Raises:
        IdentityError: TW2002, one of the signatures is wrong.
    """
    signed = {by for by, _ in document.signatures}
    found = [hospital for hospital in founding.hospitals if hospital.fingerprint in signed]
    for hospital in found:
        document.verify(hospital.identity)
    return found


def needed(founding: Founding) -> int:
    """How many hospitals have to endorse the next one: all but one, at least two."""
    return max(2, len(founding.hospitals) - 1)


def admitted(founding: Founding, documents: Sequence[Document]) -> Founding:
    """The network with these members in it, in this order.

    Raises:
        IdentityError: TW6027, too few hospitals endorsed one of them; and what ``candidate``
            and ``endorsers`` raise.
    """
    for document in documents:
        member = candidate(founding, document)
        have, need = len(endorsers(founding, document)), needed(founding)
        if have < need:
            raise IdentityError(
                f"{have} hospitals endorsed `{member.org}`, {need} are needed",
                code="TW6027",
                help="the others compare its identity by phone and run `twinward node endorse`",
            )
        founding = replace(
            founding,
            members=(*founding.members, member),
            admissions=(*founding.admissions, document),
        )
    return founding


def encode(documents: Sequence[Document]) -> bytes:
    """Admissions in their order as one canonical record."""
    return canonical.encode({"admissions": [as_json(document) for document in documents]})


def records(founding: Founding) -> dict[str, bytes]:
    """What goes into an evidence pack beside the founding file; nothing if nobody joined since."""
    return {FILE: encode(founding.admissions)} if founding.admissions else {}


def decode(data: bytes, *, at: str) -> list[Document]:
    """The other way round; signatures are not checked here.

    Raises:
        UsageError: TW1011, TW1012, TW6028.
    """
    value = canonical.decode(data, at=at)
    if not isinstance(value, dict) or set(value) != {"admissions"}:
        raise _strange(at)
    if not isinstance(value["admissions"], list):
        raise _strange(at)
    return [
        Document.decode(canonical.encode(each), kind=KIND, at=at) for each in value["admissions"]
    ]


def with_joined(founding: Founding, folder: Path) -> Founding:
    """The network as this folder knows it: its founders, who joined since, and what moved.

    Raises:
        UsageError, IdentityError, LedgerError: What ``decode``, ``admitted`` and
            ``twinward.moved.with_moves`` raise.
    """
    path = folder / FILE
    if path.exists():
        founding = admitted(founding, decode(path.read_bytes(), at=str(path)))
    return with_moves(founding, folder)


def keep(folder: Path, founding: Founding) -> None:
    """Write who joined, durably, for ``with_joined``."""
    write_atomic(folder / FILE, encode(founding.admissions))


def _strange(at: str) -> UsageError:
    return UsageError(
        "this is not an admission to this network",
        code="TW6028",
        at=at,
        help="fetch it again with `twinward node endorse`; sign nothing that came another way",
    )
