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
        commercial: Whether somebody makes money with it.
        methods_only: Whether it makes better methods and asks nothing about a disease.
        genetic: Whether it studies genes.
        ethics: Reference of an ethics committee's approval; empty if there is none.
        region: Where all data, and all that is made of it, stay; empty if that is not promised.
    """

    network: str
    name: StudyId
    salt: str
    title: str
    purpose: str
    categories: tuple[str, ...]
    closes: int
    commercial: bool = False
    methods_only: bool = False
    genetic: bool = False
    ethics: str = ""
    region: str = ""

    def __post_init__(self) -> None:
        study_id(self.name)
        purposes.purpose(self.purpose)
        if not (is_hex32(self.network) and is_hex32(self.salt) and self.categories):
            raise _malformed("network and salt are 64 hex digits; categories are not empty")

    @property
    def id32(self) -> bytes:
        """The study's number on the ledger: a salted hash, the same for every hospital."""
        return study_number(network=self.network, name=self.name, salt=self.salt)

    @property
    def use(self) -> purposes.Use:
        """What it asks of a permission; anybody may come to use its model and any may join it."""
        return purposes.Use(
            purpose=self.purpose,
            commercial=self.commercial,
            methods_only=self.methods_only,
            genetic=self.genetic,
            ethics=bool(self.ethics),
            in_region=bool(self.region),
        )

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
            "methods_only": self.methods_only,
            "genetic": self.genetic,
            "ethics": self.ethics,
            "region": self.region,
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
                methods_only=bool(value["methods_only"]),
                genetic=bool(value["genetic"]),
                ethics=str(value["ethics"]),
                region=str(value["region"]),
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
