"""What data may be used for: a small, versioned table of purposes and the bits that stand for them.

The words are those of the GA4GH Data Use Ontology (https://github.com/EBISPOT/DUO). On the ledger
only bits appear; a grant therefore also carries the digest of the table that gives them meaning,
so that a later table can never reinterpret an older grant.

Bits 0 to 63 permit; bits 64 to 127 restrict. A restriction that is not understood forbids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from twinward import canonical
from twinward.errors import UsageError

TABLE_VERSION = 2
OWN_CARE = "own-care"
BY_STAFF = "written-down-by-staff"
"""In the mask of every grant that no patient signed, and in no other: the ledger shows it."""
_RESTRICTIONS_FROM = 64


@dataclass(frozen=True, slots=True)
class Use:
    """What somebody wants to do with data, as far as a purpose or a restriction asks about it.

    Whatever nobody said is taken as what a restriction forbids: a use without an ethics approval,
    whose results leave the region, open to people and institutions that the terms do not name.

    Attributes:
        purpose: Name of a row of the table.
        commercial: Somebody makes money with it, or wants to.
        methods_only: It develops methods and asks nothing about a disease.
        genetic: It studies genes.
        ethics: An ethics committee approved it; the terms name the approval.
        in_region: Data and what is made of it stay in the region that the terms name.
        named_users: Only people whom the terms name see what is made of it.
        named_institutions: Only institutions that the terms name take part.
    """

    purpose: str
    commercial: bool = True
    methods_only: bool = True
    genetic: bool = False
    ethics: bool = False
    in_region: bool = False
    named_users: bool = False
    named_institutions: bool = False


@dataclass(frozen=True, slots=True)
class Purpose:
    """One row: a use that a patient can permit.

    ``broader`` names the purposes that contain this one: permitting those permits this.
    """

    bit: int
    name: str
    code: str
    words: str
    broader: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Restriction:
    """One row: a limit that a patient can add to what they permit; ``forbids`` is its meaning."""

    bit: int
    name: str
    code: str
    words: str
    forbids: Callable[[Use], bool]


_RESEARCH = ("any-use", "general-research")
_HEALTH = (*_RESEARCH, "health-research")
PURPOSES = (
    Purpose(0, "general-research", "DUO:0000042", "any kind of research", broader=("any-use",)),
    Purpose(
        1, "health-research", "DUO:0000006", "research about health and medicine", broader=_RESEARCH
    ),
    Purpose(
        2,
        "heart-research",
        "DUO:0000007 MONDO:0005267",
        "research about heart disease",
        broader=_HEALTH,
    ),
    Purpose(
        3,
        "diabetes-research",
        "DUO:0000007 MONDO:0005015",
        "research about diabetes",
        broader=_HEALTH,
    ),
    Purpose(
        4,
        "ancestry-research",
        "DUO:0000011",
        "research about where people and their ancestors come from",
        broader=_RESEARCH,
    ),
    Purpose(5, OWN_CARE, "DUO:0000043", "your own care"),
    Purpose(6, "any-use", "DUO:0000004", "any use that the law allows, except your own care"),
)
RESTRICTIONS = (
    Restriction(
        64,
        "not-for-profit",
        "DUO:0000018",
        "only by people who do not make money with it",
        lambda use: use.commercial,
    ),
    Restriction(
        65,
        "no-methods-only",
        "DUO:0000015",
        "not only to make better methods, without a question about a disease",
        lambda use: use.methods_only,
    ),
    Restriction(
        66,
        "genetic-only",
        "DUO:0000016",
        "only for studies of genes",
        lambda use: not use.genetic,
    ),
    Restriction(
        67,
        "ethics-approved",
        "DUO:0000021",
        "only if an ethics committee agreed",
        lambda use: not use.ethics,
    ),
    Restriction(
        68,
        "in-region",
        "DUO:0000022",
        "only inside the region that you were told",
        lambda use: not use.in_region,
    ),
    Restriction(
        69,
        "named-users",
        "DUO:0000026",
        "only by the people whom you were told",
        lambda use: not use.named_users,
    ),
    Restriction(
        70,
        "named-institutions",
        "DUO:0000028",
        "only by the institutions that you were told",
        lambda use: not use.named_institutions,
    ),
    Restriction(
        71,
        "as-described-only",
        "DUO:0000012",
        "only for what a note with your yes describes",
        lambda _: True,  # a program cannot read the note: people decide, here it is a no
    ),
    Restriction(
        72,
        "time-limit",
        "DUO:0000025",
        "only until the day that your yes names",
        lambda _: False,  # every grant ends: its expiry is this restriction
    ),
    Restriction(
        127,
        BY_STAFF,
        "none",
        "staff of the hospital wrote this yes down from paper",
        lambda _: False,  # a mark and no limit; the plan's grades decide
    ),
)
TABLE: tuple[Purpose | Restriction, ...] = (*PURPOSES, *RESTRICTIONS)
_BY_NAME = {row.name: row for row in TABLE}
_PERMISSIONS = sum(1 << row.bit for row in PURPOSES)
_KNOWN = sum(1 << row.bit for row in TABLE)


@cache
def table_digest() -> bytes:
    """32 bytes that name this exact table: what a grant's ``purposeTable`` must equal."""
    rows = [
        {
            "bit": row.bit,
            "name": row.name,
            "code": row.code,
            "words": row.words,
            "broader": list(row.broader) if isinstance(row, Purpose) else [],
        }
        for row in TABLE
    ]
    return canonical.tagged_hash(
        "purposes/v1", canonical.encode({"version": TABLE_VERSION, "rows": rows})
    )


def purpose(name: str) -> Purpose:
    """The purpose of this name.

    Raises:
        UsageError: TW3006, no such purpose.
    """
    row = _row(name)
    if not isinstance(row, Purpose):
        raise _unknown(name)
    return row


def bits(names: Iterable[str]) -> int:
    """The bits that stand for these purposes and restrictions.

    Raises:
        UsageError: TW3006, no such purpose.
    """
    mask = 0
    for name in names:
        mask |= 1 << _row(name).bit
    return mask


def names(mask: int) -> tuple[str, ...]:
    """The names of the known bits in a mask, in the order of the table."""
    return tuple(p.name for p in TABLE if mask >> p.bit & 1)


def well_formed(mask: int) -> bool:
    """Whether a mask permits something and has only bits of this table."""
    return bool(mask & _PERMISSIONS) and not mask & ~_KNOWN


def permits(mask: int, asked: str) -> bool:
    """Whether a mask permits the purpose itself or one that contains it."""
    row = purpose(asked)
    return bool(mask & bits((row.name, *row.broader)) & _PERMISSIONS)


def within(narrow: int, wide: int) -> bool:
    """Whether everything that one mask permits is permitted by the other as well.

    Each purpose is contained in one of the wider mask, and each of its restrictions is kept.
    """
    allowed = all(permits(wide, row.name) for row in PURPOSES if narrow >> row.bit & 1)
    kept = not (wide >> _RESTRICTIONS_FROM) & ~(narrow >> _RESTRICTIONS_FROM)
    return allowed and kept and well_formed(narrow) and well_formed(wide)


def restriction(mask: int, use: Use) -> str | None:
    """Name of the first restriction in the mask that forbids this use; unknown ones always do."""
    restrictions = mask >> _RESTRICTIONS_FROM << _RESTRICTIONS_FROM
    for row in RESTRICTIONS:
        if restrictions >> row.bit & 1 and row.forbids(use):
            return row.name
    return "unknown" if restrictions & ~_KNOWN else None


def _row(name: str) -> Purpose | Restriction:
    try:
        return _BY_NAME[name]
    except KeyError as error:
        raise _unknown(name) from error


def _unknown(name: str) -> UsageError:
    return UsageError(
        f"`{name}` is not a purpose in the table",
        code="TW3006",
        help=f"use one of: {', '.join(_BY_NAME)}",
    )
