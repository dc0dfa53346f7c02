"""A study as a patient is asked about it: what it wants, with which data, until when."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self

from consent import purposes
from twinward import canonical
from twinward.errors import UsageError
from twinward.ids import OrgName, StudyId, is_hex32, study_id, study_number

KIND = "twinward/study/v1"
"""Kind of the signed document that carries a study's description."""

MOST_OPTIONAL: Final = 6
"""Categories that a patient can leave out; a hospital compares a grant with every choice."""


@dataclass(frozen=True, slots=True)
class OptionalCategory:
    """A kind of data that a patient can leave out, and the columns of a record that hold it.

    ``name`` is one of the study's categories. Whoever leaves it out is used as if nothing of it
    had ever been recorded.
    """

    name: str
    columns: tuple[str, ...]


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
        optional: The categories that a patient can leave out; never all of them.
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
    optional: tuple[OptionalCategory, ...] = ()

    def __post_init__(self) -> None:
        study_id(self.name)
        purposes.purpose(self.purpose)
        if not (is_hex32(self.network) and is_hex32(self.salt) and self.categories):
            raise _malformed("network and salt are 64 hex digits; categories are not empty")
        names = [one.name for one in self.optional]
        columns = self.optional_columns
        if not (
            set(names) < set(self.categories)
            and names == sorted(set(names))  # in one order: a bit means the same everywhere
            and len(names) <= MOST_OPTIONAL
            and len(set(columns)) == len(columns)
            and all(one.columns for one in self.optional)
        ):
            raise _malformed(
                f"up to {MOST_OPTIONAL} categories are optional, not all, no column in two of them"
            )

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

    def scope(self, hospital: OrgName, *, without: Collection[str] = ()) -> bytes:
        """Digest of whose records and which categories: a grant holds at one hospital only.

        Raises:
            UsageError: TW3042, a category cannot be left out.
        """
        withheld = self.withheld(without)
        return next(scope for scope, bits in self.scopes(hospital).items() if bits == withheld)

    def scopes(self, hospital: OrgName) -> Mapping[bytes, int]:
        """Every scope that a grant can have here, and what it leaves out as bits.

        Bit n stands for the n-th optional category; 0 leaves nothing out.
        """
        return _scopes(self, hospital)

    @property
    def optional_columns(self) -> tuple[str, ...]:
        """All columns that somebody can leave out."""
        return tuple(column for one in self.optional for column in one.columns)

    def withheld(self, names: Collection[str]) -> int:
        """The bits of categories that are left out.

        Raises:
            UsageError: TW3042, one of them cannot be.
        """
        bits = sum(1 << n for n, one in enumerate(self.optional) if one.name in names)
        if bits.bit_count() != len(set(names)):
            can = "; ".join(one.name for one in self.optional)
            raise UsageError(
                "this study needs a category that was to be left out, or has none of that name",
                code="TW3042",
                help=f"leave out only what can be: {can}" if can else "say yes to all, or say no",
            )
        return bits

    def without(self, scope: bytes, hospital: OrgName) -> tuple[str, ...]:
        """The categories that a grant of this scope leaves out; none of a scope of others."""
        return tuple(one.name for one in self.left_out(self.scopes(hospital).get(scope, 0)))

    def left_out(self, bits: int) -> Iterator[OptionalCategory]:
        """The categories that these bits leave out, in the order of the study."""
        return (one for n, one in enumerate(self.optional) if bits >> n & 1)

    def to_json(self) -> dict[str, Any]:
        """Canonical JSON form."""
        optional = {one.name: list(one.columns) for one in self.optional}
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
            **({"optional": optional} if optional else {}),
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
                optional=_optional(value.get("optional", {})),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _malformed("a field is missing or has the wrong type") from error
        if study.to_json() != dict(value):
            raise _malformed("a field is of the wrong type, or one too many")
        return study


@lru_cache(maxsize=256)
def _scopes(study: Study, hospital: OrgName) -> Mapping[bytes, int]:
    scopes = {}
    for bits in range(1 << len(study.optional)):
        out = {one.name for one in study.left_out(bits)}
        kept = [category for category in study.categories if category not in out]
        said = canonical.encode({"hospital": hospital, "categories": kept})
        scopes[canonical.tagged_hash("scope/v1", said)] = bits
    return scopes


def _optional(value: Mapping[str, Any]) -> tuple[OptionalCategory, ...]:
    return tuple(
        OptionalCategory(str(name), tuple(str(column) for column in value[name]))
        for name in sorted(value)
    )


def _malformed(note: str) -> UsageError:
    return UsageError(
        "this is not a well-formed description of a study",
        code="TW3007",
        note=note,
        help="take it from the hospital's letter, unedited",
    )
