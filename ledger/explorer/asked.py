"""The words of an address as values, refused by name when they are not what a page takes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from twinward.errors import UsageError


def word(words: Mapping[str, str], name: str) -> str:
    """The text under a name, without blanks around it; empty if it is missing."""
    return words.get(name, "").strip()


def number(words: Mapping[str, str], name: str) -> int | None:
    """A whole number from 1 to a million million, or None.

    Raises:
        UsageError: TW7035.
    """
    text = word(words, name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:13]) <= 10**12):
        raise _wrong(name, "a whole number")
    return int(text)


def digest(words: Mapping[str, str], name: str) -> bytes | None:
    """20 or 32 bytes in hex, with ``0x`` or without, or None.

    Raises:
        UsageError: TW7035.
    """
    text = word(words, name).lower().removeprefix("0x")
    if not text:
        return None
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) not in {20, 32}:
        raise _wrong(name, "40 or 64 hex digits")
    return found


def end_of_day(words: Mapping[str, str], name: str) -> float | None:
    """The last moment of a UTC day ``2026-11-21``, or the moment ``2026-11-21T05:00:00Z``, or None.

    Raises:
        UsageError: TW7035.
    """
    text = word(words, name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _wrong(name, "a day such as 2026-11-21") from None
    if len(text) <= 10:
        moment += timedelta(days=1, seconds=-1)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _wrong(name: str, wanted: str) -> UsageError:
    return UsageError(
        f"`{name}` is not {wanted}",
        code="TW7035",
        help="correct it in the address or in the page's form",
    )
