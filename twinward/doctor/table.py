"""What a doctor found, as a table for people or an object for machines."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import click

from twinward.console import emit, table
from twinward.doctor.findings import Finding, Result
from twinward.errors import EXIT_CHECK

_WIDTH = 54


def report(found: Sequence[Finding], *, schema: str, as_json: bool) -> None:
    """Print it; ends the command with 3 if there is a fault."""
    faults = [each for each in found if each.result is Result.FAULT]
    concerns = [each for each in found if each.result is Result.CONCERN]
    emit(
        {
            "faults": len(faults),
            "concerns": len(concerns),
            "checks": [each.as_json() for each in found],
        },
        schema=schema,
        as_json=as_json,
        text=lambda: (
            table(("CHECK", "RESULT", "FIX"), (row for each in found for row in _rows(each)))
            + f"\n{_many(faults, 'fault')}, {_many(concerns, 'concern')}, {_many(found, 'check')}"
        ),
    )
    if faults:
        raise click.exceptions.Exit(EXIT_CHECK)


def _many(found: Sequence[Finding], what: str) -> str:
    return f"{len(found)} {what}{'s' * (len(found) != 1)}"


def _rows(found: Finding) -> Iterator[tuple[str, str, str]]:
    """The lines of one finding, cut to columns that fit a screen."""
    code = "" if found.code is None else f" [{found.code}]"
    where = f"\n{found.at}" if found.at and found.fix and found.at not in found.fix else ""
    columns = (
        [found.check],
        _cut(f"{found.result.value}{code}: {found.what}"),
        _cut(found.fix + where),
    )
    yield from zip_longest(*columns, fillvalue="")


def _cut(text: str) -> list[str]:
    return [
        line
        for paragraph in text.splitlines()
        for line in textwrap.wrap(paragraph, _WIDTH, break_long_words=False, break_on_hyphens=False)
    ]
