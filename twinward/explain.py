"""``twinward explain TWnnnn``: what an error code means and what to do."""

from __future__ import annotations

from importlib import resources

import click

from twinward.console import emit, json_option, reports_errors
from twinward.errors import UsageError


def known_codes() -> dict[str, tuple[str, str]]:
    """Every documented code with its cause and its fix, from the table shipped with the package."""
    text = resources.files("twinward").joinpath("error_codes.md").read_text(encoding="utf-8")
    rows = (
        line.strip("| \n").split(" | ") for line in text.splitlines() if line.startswith("| TW")
    )
    return {row[0].strip(): (row[1].strip(), row[2].strip()) for row in rows}


@click.command()
@click.argument("code")
@json_option
@reports_errors
def explain(code: str, *, as_json: bool) -> None:
    """Explain an error CODE such as TW3101."""
    known = known_codes()
    entry = known.get(code.upper())
    if entry is None:
        raise UsageError(
            f"`{code}` is not a code of this version",
            code="TW1060",
            help="codes look like TW3101 and stand in brackets at the start of an error",
        )
    cause, fix = entry
    emit(
        {"code": code.upper(), "cause": cause, "fix": fix},
        schema="explain",
        as_json=as_json,
        text=lambda: f"{code.upper()}: {cause}\nfix: {fix}",
    )
