"""The command ``twinward node doctor``."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import click

from twinward.console import emit, json_option, reports_errors, table
from twinward.errors import EXIT_CHECK, TwinwardError

if TYPE_CHECKING:
    from hospital_node.doctor.findings import Finding

_WIDTH = 54
FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))


@click.command()
@FOLDER
@json_option
@reports_errors
def doctor(*, folder: Path, as_json: bool) -> None:
    """Check machine, keys, network, ledger and records of the node in FOLDER; changes nothing.

    Works with the node up or stopped. Ends with 0 if there is no fault, with 3 if there is one.
    """
    from hospital_node import forwarder_command
    from hospital_node.doctor.checks import CHECKS
    from hospital_node.doctor.findings import Result, examine
    from hospital_node.doctor.site import Site
    from twinward import flower_launch

    site = Site(folder)
    quiet = flower_launch.environment(folder / "state" / "supernode" / "flwr")
    os.environ |= {name: value for name, value in quiet.items() if name.startswith("FLWR_")}
    with ExitStack() as stack:
        with suppress(TwinwardError):  # whatever it is, a check finds it too
            stack.enter_context(forwarder_command.of_member(folder, probe=False))
        found = list(examine(site, CHECKS))
    faults = [each for each in found if each.result is Result.FAULT]
    concerns = [each for each in found if each.result is Result.CONCERN]
    emit(
        {
            "faults": len(faults),
            "concerns": len(concerns),
            "checks": [each.as_json() for each in found],
        },
        schema="node.doctor",
        as_json=as_json,
        text=lambda: (
            table(("CHECK", "RESULT", "FIX"), (row for each in found for row in _rows(each)))
            + f"\n{len(faults)} faults, {len(concerns)} concerns, {len(found)} checks"
        ),
    )
    if faults:
        raise click.exceptions.Exit(EXIT_CHECK)


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
