"""What a person sees: data on stdout, talk on stderr, ``--json`` for machines, a ``Next:`` line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, NoReturn, ParamSpec

import click

from twinward.errors import EXIT_INTERRUPTED, InternalError, TwinwardError

P = ParamSpec("P")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def emit(value: Mapping[str, Any], *, schema: str, as_json: bool, text: Callable[[], str]) -> None:
    """Print a result: the object under ``--json``, otherwise the text for people."""
    if as_json:
        click.echo(json.dumps({"schema": f"twinward/{schema}/v1", **value}, sort_keys=True))
    else:
        click.echo(text())


def say(message: str) -> None:
    """Talk: progress and remarks, on stderr so that pipes stay clean."""
    click.echo(message, err=True)


def next_step(command: str) -> None:
    """Suggest the one command that usually follows."""
    say(f"Next: {command}")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A plain table with aligned columns; reads the same on a terminal and in a log."""
    lines = [list(headings), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    rendered = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([rendered[0], rule, *rendered[1:]])


def is_interactive() -> bool:
    """Whether talk goes to a terminal that understands carriage returns and colour."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def fail(error: TwinwardError, *, as_json: bool) -> NoReturn:
    """End the process with an error rendered for its reader; the status is the error's own."""
    if as_json:
        click.echo(json.dumps({"schema": "twinward/error/v1", "error": error.diagnostic.as_json()}))
    else:
        say(error.diagnostic.as_text())
    sys.exit(error.diagnostic.exit_status)


def reports_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Wrap a command: refusals become text or JSON with their exit status, never a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json = bool(kwargs.get("as_json", False))
        try:
            command(*args, **kwargs)
        except TwinwardError as error:
            fail(error, as_json=as_json)
        except KeyboardInterrupt:
            say("interrupted; everything acknowledged so far is on disk")
            sys.exit(EXIT_INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if os.environ.get("TWINWARD_TRACEBACK"):
                raise
            fail(
                InternalError(
                    f"unexpected {type(error).__name__}",
                    code="TW9000",
                    note="the message is withheld because it could quote a record",
                    help="set TWINWARD_TRACEBACK=1 to see it on this terminal, and report it",
                ),
                as_json=as_json,
            )

    return run
