"""The words of the pages, one file for each language; a test holds them complete.

English and Arabic are complete. Which one a visitor reads is their own choice, kept in a cookie
that names nothing else; before that it is what their browser asks for.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from twinward.errors import UsageError

COOKIE = "language"
_FOLDER = Path(__file__).parent / "words"
_RIGHT_TO_LEFT = frozenset({"ar"})


@dataclass(frozen=True, slots=True)
class Language:
    """One language: its name, which way it runs, its words by key."""

    code: str
    words: Mapping[str, str]

    @property
    def name(self) -> str:
        """What its own readers call it."""
        return self.words["language"]

    @property
    def direction(self) -> str:
        """``ltr`` or ``rtl``."""
        return "rtl" if self.code in _RIGHT_TO_LEFT else "ltr"

    def date(self, seconds: float) -> str:
        """The day, in the reader's order: day, month in words, year."""
        at = datetime.fromtimestamp(seconds, tz=UTC)
        return f"{at.day} {self.words[f'month_{at.month}']} {at.year}"

    def moment(self, seconds: float) -> str:
        """The day and the time, UTC."""
        at = datetime.fromtimestamp(seconds, tz=UTC)
        return f"{self.date(seconds)}, {at:%H:%M:%S} UTC"


@functools.cache
def languages() -> Mapping[str, Language]:
    """Every language that we have words in, English first."""
    codes = sorted((path.stem for path in _FOLDER.glob("*.toml")), key=lambda code: code != "en")
    return {code: Language(code, _words(code)) for code in codes}


def chosen(cookie: str | None, accepted: str) -> Language:
    """The language of a visitor.

    Args:
        cookie: What they chose, if they did.
        accepted: The browser's ``Accept-Language`` (RFC 9110, 12.5.4), in the order it lists.
    """
    known = languages()
    if cookie is not None and cookie in known:
        return known[cookie]
    for part in accepted.split(","):
        code = part.split(";")[0].strip().lower().split("-")[0]
        if code in known:
            return known[code]
    return known["en"]


def named(code: str) -> Language:
    """The language of this code.

    Raises:
        UsageError: TW8074, we have no words in it.
    """
    found = languages().get(code)
    if found is None:
        raise UsageError(
            f"there are no words in `{code}`",
            code="TW8074",
            help=f"use one of: {', '.join(languages())}",
        )
    return found


def _words(code: str) -> Mapping[str, str]:
    return tomllib.loads((_FOLDER / f"{code}.toml").read_text(encoding="utf-8"))
