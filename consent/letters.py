"""The letter with which a hospital invites one patient to one study.

It holds all that the patient's device has to trust: where the hospital's desk is and by which
certificate authority and identity to know it, which study and which ledger, and a 128-bit code
that stands for the patient. Whoever holds the letter can answer in the patient's place: it is a
secret until it was used, and files of letters are readable by their owner only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from consent.record import Domain
from consent.study import Study
from consent.vault import CODE_BYTES
from twinward import canonical
from twinward.errors import IdentityError, UsageError
from twinward.files import read_secret, write_secret
from twinward.ids import OrgName, org_name
from twinward.signing import PublicIdentity


@dataclass(frozen=True, slots=True)
class Letter:
    """One invitation.

    Attributes:
        hospital: Who invites.
        identity: The hospital's identity: signs receipts.
        desk: ``host:port`` of the hospital's consent desk (gRPC over TLS).
        ca: PEM of the only authority that the desk's certificate may come from.
        domain: The ledger and contract that signatures are for.
        study: What is asked.
        code: 16 random bytes that stand for the patient.
        door: ``host:port`` of the network's front door, by the same authority; it takes a
            withdrawal that the hospital does not. None in a network without, or an older letter.
    """

    hospital: OrgName
    identity: PublicIdentity
    desk: str
    ca: str
    domain: Domain
    study: Study
    code: bytes
    door: str | None = None

    @property
    def reference(self) -> str:
        """A short name of the letter that does not give the code away: 16 hex digits."""
        return reference_of(self.code)

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON form; contains the code."""
        return {
            "hospital": self.hospital,
            "identity": self.identity.raw.hex(),
            "desk": self.desk,
            "ca": self.ca,
            "domain": self.domain.to_json(),
            "study": self.study.to_json(),
            "code": self.code.hex(),
            **({} if self.door is None else {"door": self.door}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            UsageError: TW3008 malformed, TW3003, TW3007.
            IdentityError: TW2001.
        """
        try:
            letter = cls(
                hospital=org_name(value["hospital"]),
                identity=PublicIdentity.from_hex(value["identity"]),
                desk=str(value["desk"]),
                ca=str(value["ca"]),
                domain=Domain.from_json(value["domain"]),
                study=Study.from_json(value["study"]),
                code=bytes.fromhex(value["code"]),
                door=None if value.get("door") is None else str(value["door"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _malformed("a field is missing or has the wrong form") from error
        if len(letter.code) != CODE_BYTES or letter.study.network != letter.domain.genesis.hex():
            raise _malformed("the code is not 16 bytes, or study and ledger do not fit")
        return letter


def reference_of(code: bytes) -> str:
    """The short name of the letter with this code."""
    return canonical.tagged_hash("letter/v1", code).hex()[:16]


def write_letters(path: Path, letters: Iterable[Letter]) -> None:
    """One letter a line, canonical JSON, mode 0600; never overwrites a file.

    Raises:
        UsageError: TW1013, the file is already there.
    """
    write_secret(path, b"".join(canonical.encode(a.to_json()) + b"\n" for a in letters))


def read_letters(path: Path) -> list[Letter]:
    """The letters of a file that only its owner can read.

    Raises:
        UsageError: TW1014 not there, TW3008 malformed.
        IdentityError: TW2005, others can read it.
    """
    lines = read_secret(path).splitlines()
    letters = []
    for number, line in enumerate(lines, start=1):
        at = f"{path}:{number}"
        try:
            letters.append(Letter.from_json(canonical.decode(line, at=at)))
        except (UsageError, IdentityError) as error:
            raise _malformed(str(error), at=at) from error
    return letters


def _malformed(note: str, *, at: str | None = None) -> UsageError:
    return UsageError(
        "this is not a well-formed letter",
        code="TW3008",
        at=at,
        note=note,
        help="ask the hospital for a new letter",
    )
