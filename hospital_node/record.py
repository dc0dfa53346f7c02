"""The record number of a patient as staff give it to a command: typed, so that no list shows it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from twinward.console import say
from twinward.errors import UsageError
from twinward.ids import RecordNumber

Command = TypeVar("Command", bound=Callable[..., Any])
_HELP = "RECORD is a record number, or - to type it, so that it stands in no list of processes."
_LONGEST = 64


def RECORD(command: Command) -> Command:  # noqa: N802 - a decorator like FOLDER beside it
    """The argument ``record`` of a command, with what its help says of it."""
    command.__doc__ = f"{inspect.getdoc(command)}\n\n{_HELP}"
    return click.argument("record")(command)


def is_record_number(text: str) -> bool:
    """Whether this can be a hospital's own number of a patient."""
    return text.isprintable() and text == text.strip() and 0 < len(text) <= _LONGEST


def asked(question: str) -> str:
    """What is typed now without being shown; from a pipe, its next line."""
    if sys.stdin.isatty():
        return str(click.prompt(question, hide_input=True, err=True))
    return sys.stdin.readline().removesuffix("\n")


def doubt(*, has_letter: bool | None) -> None:
    """Ask whether the number is right: a mistyped one looks like a patient not written to."""
    if has_letter is False:
        say("no letter of this hospital went to a patient of this number: is it the right one?")


def typed(record: str) -> RecordNumber:
    """The number that was given, or that is typed now without being shown.

    Raises:
        UsageError: TW7133.
    """
    if record == "-":
        record = asked("record number")
    if not is_record_number(record):
        raise UsageError(
            "this is not a record number",
            code="TW7133",
            help="give the hospital's own number of the patient, at most 64 characters",
        )
    return RecordNumber(record)
