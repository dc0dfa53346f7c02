"""The words of the pages, one file for each language; a test holds them complete.

English and Arabic are whole. Every other file is a draft, and each page in it says so: a machine's
or a newcomer's words may not be taken for what a hospital says. Which language a visitor reads is
their own choice, kept in a cookie that names nothing else; before that it is what their browser
asks for, but never a draft: nobody reads one without having chosen it.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from twinward.errors import UsageError

COOKIE = "language"
ENGLISH = "en"
_FOLDER = Path(__file__).parent / "words"
_RIGHT_TO_LEFT = frozenset({"ar"})


class Borrowed(str):
    """English words where a language has none yet; a page shows them marked as English.

    In the value of an attribute, where no mark can stand, templates take them bare (`striptags`).
    """

    __slots__ = ()

    def __html__(self) -> Markup:
        """The words for a page, so that a voice reads them as English."""
        return Markup('<span lang="en" dir="ltr">{}</span>').format(str(self))

    def format(self, *args: Any, **values: Any) -> Borrowed:
        """Filled in, and still borrowed."""
        return Borrowed(str(self).format(*args, **values))


@dataclass(frozen=True, slots=True)
class Language:
    """One language.

    Attributes:
        code: As in RFC 5646.
        words: By key; English ones in place of what it has no words for.
        is_draft: Whether no person has checked it.
    """

    code: str
    words: Mapping[str, str]
    is_draft: bool

    @property
    def name(self) -> str:
        """What its own readers call it."""
        return self.words["language"]

    @property
    def direction(self) -> str:
        """``ltr`` or ``rtl``."""
        return "rtl" if self.code in _RIGHT_TO_LEFT else "ltr"

    @property
    def warnings(self) -> tuple[Language, ...]:
        """In which languages a draft says that it is one: its own and English; else in none."""
        return (self, languages()[ENGLISH]) if self.is_draft else ()

    def lines(self, key: str) -> list[str]:
        """The words of this key, line by line."""
        words = self.words[key]
        return [type(words)(line) for line in words.strip().split("\n")]

    def date(self, seconds: float) -> str:
        """The day, in the reader's order: day, month in words, year."""
        at = datetime.fromtimestamp(seconds, tz=UTC)
        month = self.words[f"month_{at.month}"]
        return self.words["date"].format(day=at.day, month=month, year=at.year)

    def moment(self, seconds: float) -> str:
        """The day and the time, UTC."""
        at = datetime.fromtimestamp(seconds, tz=UTC)
        return self.words["moment"].format(date=self.date(seconds), time=f"{at:%H:%M:%S}")


@functools.cache
def languages(*, drafts: bool = True) -> Mapping[str, Language]:
    """Every language that we have words in, English first; the drafts only if they are wanted."""
    english = _read(ENGLISH)
    others = sorted(path.stem for path in _FOLDER.glob("*.toml") if path.stem != ENGLISH)
    found = [english, *(_over(_read(code), english) for code in others)]
    return {one.code: one for one in found if drafts or not one.is_draft}


def chosen(cookie: str | None, accepted: str, *, drafts: bool = True) -> Language:
    """The language of a visitor.

    Args:
        cookie: What they chose, if they did.
        accepted: The browser's ``Accept-Language`` (RFC 9110, 12.5.4), in the order it lists.
        drafts: Whether this hospital shows drafts.
    """
    known = languages(drafts=drafts)
    if cookie is not None and cookie in known:
        return known[cookie]
    whole = (one for one in _asked_for(accepted, known) if not one.is_draft)
    return next(whole, known[ENGLISH])


def offered(cookie: str | None, accepted: str, *, drafts: bool = True) -> Language | None:
    """The draft that the browser of a visitor without a choice asks for first; None: no draft."""
    known = languages(drafts=drafts)
    first = next(_asked_for(accepted, known), None) if cookie not in known else None
    return first if first is not None and first.is_draft else None


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


def _asked_for(accepted: str, known: Mapping[str, Language]) -> Iterator[Language]:
    for part in accepted.split(","):
        code = part.split(";")[0].strip().lower().split("-")[0]
        if code in known:
            yield known[code]


def _read(code: str) -> Language:
    """One file; what does not say that it is none is a draft."""
    words = tomllib.loads((_FOLDER / f"{code}.toml").read_text(encoding="utf-8"))
    return Language(code, words, is_draft=words.pop("is_draft", True))


def _over(one: Language, english: Language) -> Language:
    missing = {key: Borrowed(text) for key, text in english.words.items() if key not in one.words}
    return Language(one.code, {**one.words, **missing}, one.is_draft)
