"""What data may be used for: a small, versioned table of purposes and the bits that stand for them.

The words are those of the GA4GH Data Use Ontology (https://github.com/EBISPOT/DUO). On the ledger
only bits appear; a grant therefore also carries the digest of the table that gives them meaning,
so that a later table can never reinterpret an older grant.

Bits 0 to 63 permit; bits 64 to 127 restrict. A restriction that is not understood forbids.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from twinward import canonical
from twinward.errors import UsageError

TABLE_VERSION = 1
NOT_FOR_PROFIT = 64
_RESTRICTIONS_FROM = 64


@dataclass(frozen=True, slots=True)
class Purpose:
    """One row: a use that a patient can permit, or a restriction that a patient can add.

    ``broader`` names the purposes that contain this one: permitting those permits this.
    """

    bit: int
    name: str
    code: str
    words: str
    broader: tuple[str, ...] = ()


TABLE = (
    Purpose(0, "general-research", "DUO:0000042", "any kind of research"),
    Purpose(
        1,
        "health-research",
        "DUO:0000006",
        "research about health and medicine",
        broader=("general-research",),
    ),
    Purpose(
        2,
        "heart-research",
        "DUO:0000007 MONDO:0005267",
        "research about heart disease",
        broader=("general-research", "health-research"),
    ),
    Purpose(
        NOT_FOR_PROFIT,
        "not-for-profit",
        "DUO:0000018",
        "only by people who do not make money with it",
    ),
)
_BY_NAME = {purpose.name: purpose for purpose in TABLE}
_PERMISSIONS = sum(1 << p.bit for p in TABLE if p.bit < _RESTRICTIONS_FROM)
_KNOWN = sum(1 << p.bit for p in TABLE)


@cache
def table_digest() -> bytes:
    """32 bytes that name this exact table: what a grant's ``purposeTable`` must equal."""
    rows = [
        {"bit": p.bit, "name": p.name, "code": p.code, "words": p.words, "broader": list(p.broader)}
        for p in TABLE
    ]
    return canonical.tagged_hash(
        "purposes/v1", canonical.encode({"version": TABLE_VERSION, "rows": rows})
    )


def purpose(name: str) -> Purpose:
    """The row of this name.

    Raises:
        UsageError: TW3006, no such purpose.
    """
    try:
        return _BY_NAME[name]
    except KeyError as error:
        raise UsageError(
            f"`{name}` is not a purpose in the table",
            code="TW3006",
            help=f"use one of: {', '.join(_BY_NAME)}",
        ) from error


def bits(names: Iterable[str]) -> int:
    """The bits that stand for these purposes and restrictions.

    Raises:
        UsageError: TW3006, no such purpose.
    """
    mask = 0
    for name in names:
        mask |= 1 << purpose(name).bit
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


def restricts(mask: int, *, commercial: bool) -> bool:
    """Whether a restriction in the mask forbids a use of this kind; unknown ones always do."""
    restrictions = mask >> _RESTRICTIONS_FROM << _RESTRICTIONS_FROM
    if restrictions & ~_KNOWN:
        return True
    return commercial and bool(restrictions >> NOT_FOR_PROFIT & 1)
