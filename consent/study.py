"""A study as a patient is asked about it: what it wants, with which data, until when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from consent import purposes
from twinward import canonical
from twinward.errors import UsageError
from twinward.ids import OrgName, StudyId, is_hex32, study_id, study_number

KIND = "twinward/study/v1"
"""Kind of the signed document that carries a study's description."""


@dataclass(frozen=True, slots=True)
class Study:
    """What a grant for a study is about.

    Attributes:
        network: Genesis hash of the ledger, 64 hex digits.
        name: Public name, as in the plan.
        salt: 32 random bytes in hex; makes the study's number on the ledger unguessable.
        title: What patients read.
        purpose: Name of a row in `consent.purposes`, as in the plan.
        categories: Kinds of data that it uses, in words that patients read.
        closes: Unix seconds from which on no grant is taken any more.
        commercial: Whether somebody makes money with it; then ``not-for-profit`` grants forbid it.
    """

    network: str
    name: StudyId
    salt: str
    title: str
    purpose: str
    categories: tuple[str, ...]
    closes: int
    commercial: bool = False

    def __post_init__(self) -> None:
        study_id(self.name)
        purposes.purpose(self.purpose)
        if not (is_hex32(self.network) and is_hex32(self.salt) and self.categories):
            raise _malformed("network and salt are 64 hex digits; categories are not empty")

    @property
    def id32(self) -> bytes:
        """The study's number on the ledger: a salted hash, the same for every hospital."""
        return study_number(network=self.network, name=self.name, salt=self.salt)

    def scope(self, hospital: OrgName) -> bytes:
        """Digest of whose records and which categories: a grant holds at one hospital only."""
        return canonical.tagged_hash(
            "scope/v1",
            canonical.encode({"hospital": hospital, "categories": list(self.categories)}),
        )

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON form."""
        return {
            "network": self.network,
            "name": self.name,
            "salt": self.salt,
            "title": self.title,
            "purpose": self.purpose,
            "categories": list(self.categories),
            "closes": self.closes,
            "commercial": self.commercial,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            UsageError: TW3007 malformed, TW3006 unknown purpose.
        """
        try:
            study = cls(
                network=str(value["network"]),
                name=study_id(str(value["name"])),
                salt=str(value["salt"]),
                title=str(value["title"]),
                purpose=str(value["purpose"]),
                categories=tuple(str(category) for category in value["categories"]),
                closes=int(value["closes"]),
                commercial=bool(value["commercial"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _malformed("a field is missing or has the wrong type") from error
        if study.to_json() != dict(value):
            raise _malformed("a field is of the wrong type, or one too many")
        return study


def _malformed(note: str) -> UsageError:
    return UsageError(
        "this is not a well-formed description of a study",
        code="TW3007",
        note=note,
        help="take it from the hospital's letter, unedited",
    )
