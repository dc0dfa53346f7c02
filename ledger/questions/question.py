"""What a question is: parameters in, and out comes a table or the reason why there is none yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ledger.questions.sources import Sources
from twinward.errors import UsageError

Cell = str | int | float | None
Values = Mapping[str, Any]

PUBLIC = "public"
"""Release class: on the ledger, for every member and whoever they show it to."""

MEMBERS = "members"
"""Release class: from documents that the members share."""

NODE = "node"
"""Release class: from an organisation's audit log; it goes to whom the organisation shows it."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an answer.

    Attributes:
        name: For machines.
        title: For people.
        unit: ``UTC``, ``s``, ``mu^2``; empty for names and digests.
        release: Who may see it: `PUBLIC`, `MEMBERS` or `NODE`.
    """

    name: str
    title: str
    unit: str = ""
    release: str = PUBLIC


@dataclass(frozen=True, slots=True)
class Row:
    """One row, and the numbers of the events that it rests on."""

    cells: tuple[Cell, ...]
    evidence: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a question found.

    Attributes:
        rows: The table.
        summary: The answer in one sentence.
        remarks: What a reader has to know to read it rightly.
        complete: Whether everything was there to judge by; if not, no PASS is given.
    """

    rows: tuple[Row, ...]
    summary: str
    remarks: tuple[str, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class NoSource:
    """Nobody records this yet, or it was not given: what is missing and what brings it."""

    missing: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing that a question must or may be told.

    Attributes:
        name: For machines.
        title: For people.
        type: A key of `TYPES`.
        required: Whether there is no answer without it.
        default: Text that stands in where nothing is given.
    """

    name: str
    title: str
    type: str
    required: bool = False
    default: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question by name.

    Attributes:
        id: Its name in commands and addresses.
        title: In plain words.
        why: What it is good for, in one sentence.
        parameters: What it is told.
        columns: Of its table.
        topics: What an answer is a function of: every event of these topics of the network's log.
        run: Finds the answer.
        empty_is_pass: Whether every row is a violation.
        reads_packs: Whether it looks into evidence packs.
        entries: For a question to an organisation's audit log, the topics there that an answer is
            a function of; None for one to the ledger.
    """

    id: str
    title: str
    why: str
    parameters: tuple[Parameter, ...]
    columns: tuple[Column, ...]
    topics: Callable[[Values], Sequence[str]]
    run: Callable[[Sources, Values], Found | NoSource]
    empty_is_pass: bool = False
    reads_packs: bool = False
    entries: tuple[str, ...] | None = None

    def read(self, given: Mapping[str, str], sources: Sources) -> dict[str, Any]:
        """The values of these texts, as from an address or a command line.

        Raises:
            UsageError: TW3711, one is missing, unknown or cannot be read.
        """
        unknown = set(given) - {one.name for one in self.parameters}
        if unknown:
            raise _bad(self.id, f"it has no parameter `{min(unknown)}`", self._accepted())
        values: dict[str, Any] = {}
        for one in self.parameters:
            text = given.get(one.name, "").strip() or one.default
            if not text:
                if one.required:
                    raise _bad(self.id, f"`{one.name}` is missing", self._accepted())
                values[one.name] = None
                continue
            try:
                values[one.name] = TYPES[one.type](text, sources)
            except (ValueError, LookupError, OverflowError) as error:
                raise _bad(self.id, f"`{one.name}` is not {_SPELLED[one.type]}", "") from error
        return values

    def _accepted(self) -> str:
        names = ", ".join(f"{p.name} ({_SPELLED[p.type]})" for p in self.parameters)
        return f"it takes: {names}" if names else "it takes none"


def _bad(question: str, why: str, note: str) -> UsageError:
    return UsageError(
        f"the question `{question}` cannot be asked like this: {why}",
        code="TW3711",
        note=note or None,
        help="see `twinward audit list` for the questions and their parameters",
    )


def spelled(kind: str) -> str:
    """What a parameter of this type looks like, for people."""
    return _SPELLED[kind]


def some(count: int, word: str) -> str:
    """A number of things: ``1 run``, ``2 runs``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def utc(seconds: int | None) -> str | None:
    """A time of the ledger for people and machines."""
    if seconds is None or seconds >= _YEAR_9999:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_YEAR_9999 = 253_370_764_800


def _date(text: str, _: Sources) -> int:
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _positive(text: str, _: Sources) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number


def _delta(text: str, _: Sources) -> float:
    number = float(text)
    if not 0 < number < 0.1:
        raise ValueError(text)
    return number


def _digest(text: str, _: Sources) -> bytes:
    return _hex(text, 32)


def _subjects(text: str, _: Sources) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(_hex(one, 20) for one in re.split(r"[,\s]+", text)))


def _hex(text: str, length: int) -> bytes:
    value = bytes.fromhex(text.removeprefix("0x"))
    if len(value) != length:
        raise ValueError(text)
    return value


TYPES: Mapping[str, Callable[[str, Sources], Any]] = {
    "date": _date,
    "hours": _positive,
    "seconds": _positive,
    "delta": _delta,
    "digest": _digest,
    "subjects": _subjects,
    "member": lambda text, sources: sources.member(text).number,
    "study": lambda text, sources: sources.study(text),
}
"""How the text of a parameter of each type is read."""

_SPELLED = {
    "date": "a date or time in UTC, 2026-11-21 or 2026-11-21T06:00",
    "hours": "a number of hours above 0",
    "seconds": "a number of seconds above 0",
    "delta": "a number between 0 and 0.1",
    "digest": "64 hex digits",
    "subjects": "one or more ledger pseudonyms of 40 hex digits, with commas between them",
    "member": "the name or the number of a member",
    "study": "the name of a study whose document is at hand, or its 64 hex digits on the ledger",
}
