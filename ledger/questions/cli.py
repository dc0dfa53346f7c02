"""``twinward audit``: ask the ledger, keep questions, prove and recheck answers, write reports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger.questions.cli_logs import COMMANDS
from ledger.questions.cli_options import (
    FILE,
    documents_option,
    folder_argument,
    ledger_option,
    now_option,
    offline_option,
    patients_option,
    up_to_date,
)
from ledger.questions.cli_reports import report
from twinward.console import emit, json_option, next_step, reports_errors, say, table
from twinward.errors import EXIT_CHECK, UsageError
from twinward.files import write_atomic

if TYPE_CHECKING:
    from ledger.questions.answer import Answer

FORMATS = ("text", "json", "csv", "html")


@click.group()
def audit() -> None:
    """Ask the ledger what auditors, patients and regulators want to know.

    FOLDER holds founding.json and the network's documents: a coordinator's folder, or your own with
    copies. The copy of the ledger is kept in its state/audit.
    """


for command in (report, *COMMANDS):
    audit.add_command(command)


@audit.command("list")
@json_option
@reports_errors
def list_questions(*, as_json: bool) -> None:
    """List every question with its parameters."""
    from ledger.questions.library import library
    from ledger.questions.question import spelled

    def text() -> str:
        lines = []
        for one in library():
            lines += [f"{one.id}", f"    {one.title}"]
            for p in one.parameters:
                note = " (needed)" if p.required else f" (or {p.default})" if p.default else ""
                lines.append(f"    {p.name}: {p.title}, {spelled(p.type)}{note}")
        return "\n".join(lines)

    found = [
        {
            "id": one.id,
            "title": one.title,
            "why": one.why,
            "empty_is_pass": one.empty_is_pass,
            "parameters": [
                {"name": p.name, "title": p.title, "type": p.type, "required": p.required}
                for p in one.parameters
            ],
        }
        for one in library()
    ]
    emit({"questions": found}, schema="audit.list", as_json=as_json, text=text)


@audit.command()
@folder_argument
@ledger_option
@json_option
@reports_errors
def follow(*, folder: Path, ledger: str | None, as_json: bool) -> None:
    """Bring the copy of the ledger in FOLDER up to date, and compare it with its checkpoints."""
    from ledger.questions.workspace import Workspace

    block = Workspace(folder).follow(ledger)
    emit({"block": block}, schema="audit.follow", as_json=as_json, text=lambda: f"block {block}")


@audit.command()
@folder_argument
@ledger_option
@json_option
@reports_errors
def checkpoint(*, folder: Path, ledger: str | None, as_json: bool) -> None:
    """Sign the state of the network's log, as the coordinator, so that answers can be proved."""
    from ledger.questions.workspace import Workspace
    from twinward.organisation import Organisation

    space = Workspace(folder)
    space.follow(ledger)
    path = space.checkpoint(Organisation(folder).identity())
    emit(
        {"checkpoint": str(path)},
        schema="audit.checkpoint",
        as_json=as_json,
        text=lambda: str(path),
    )


@audit.command()
@click.argument("question")
@folder_argument
@click.option("--param", "-p", multiple=True, metavar="NAME=VALUE", help="A parameter; repeat it.")
@documents_option
@ledger_option
@offline_option
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--proof", type=FILE, help="Write a file that anyone can verify offline.")
@click.option("--saved", is_flag=True, help="QUESTION is the name of a saved one.")
@click.option("--log", type=FILE, help="A copy of an organisation's audit log, to ask of that.")
@patients_option
@now_option
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@reports_errors
def ask(
    *,
    question: str,
    folder: Path,
    param: tuple[str, ...],
    documents: tuple[Path, ...],
    ledger: str | None,
    offline: bool,
    form: str,
    proof: Path | None,
    saved: bool,
    log: Path | None,
    patients: bool,
    now: bool,
    as_json: bool,
) -> None:
    """Ask a QUESTION of the ledger copy in FOLDER, or of the audit log of FOLDER's organisation.

    Exit status 3 if the answer must be empty and is not.
    """
    from ledger.questions import saved as kept
    from ledger.questions.workspace import Workspace

    given = _parameters(param)
    if saved:
        one = kept.find(_saved_in(folder), question)
        if one.question is None:
            _sql(folder, one.sql or "", as_json=as_json)
            return
        question, given = one.question, {**one.parameters, **given}
    space = Workspace(folder, more=documents)
    data = None
    if log is not None or space.asks_own_log(question):
        seen_here = proof is None
        answer, data = space.ask_log(
            question,
            given,
            copy=log,
            patients=patients or seen_here,
            anchored=not (now or seen_here),
        )
    else:
        up_to_date(space, ledger, offline=offline)
        if proof is None:
            answer = space.ask(question, given)
        else:
            answer, data = space.prove(question, given)
    if proof is not None:
        if data is None:
            raise UsageError(
                "a copy of an audit log is the proof of what it answers",
                code="TW3725",
                help="keep the copy itself; whoever asks it gets the same answer",
            )
        write_atomic(proof, data)
        own = log is None and space.asks_own_log(question)
        said = space.anchor_in_words(data) if own else "as of a signed checkpoint"
        say(f"{proof}: {len(data)} bytes, {said}")
    _print(answer, "json" if as_json else form)
    if proof is not None:
        next_step(f"twinward audit recheck {proof}")
    if answer.verdict == "FAIL":
        sys.exit(EXIT_CHECK)


@audit.command()
@click.argument("proof", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--founding", type=FILE, help="Your own copy of the founding file.")
@documents_option
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@json_option
@reports_errors
def recheck(
    *, proof: Path, founding: Path | None, documents: tuple[Path, ...], form: str, as_json: bool
) -> None:
    """Verify a PROOF offline and ask its question again from the proven events alone."""
    from ledger.questions.documents import Documents
    from ledger.questions.proof import recheck as again

    answer = again(
        proof.read_bytes(),
        founding=None if founding is None else founding.read_bytes(),
        documents=Documents.read(documents),
    )
    _print(answer, "json" if as_json else form)
    say("verified: every event of its topics is there, and they say what the table says")


@audit.command()
@folder_argument
@click.argument("query")
@click.option("--seconds", default=5.0, show_default=True, help="Time limit.")
@json_option
@reports_errors
def sql(*, folder: Path, query: str, seconds: float, as_json: bool) -> None:
    """Run one SELECT over the ledger copy in FOLDER: read-only, with a time limit."""
    _sql(folder, query, seconds=seconds, as_json=as_json)


@audit.command()
@folder_argument
@click.argument("name")
@click.option("--question", help="The question to keep.")
@click.option("--param", "-p", multiple=True, metavar="NAME=VALUE", help="A parameter; repeat it.")
@click.option("--sql", "query", help="Or the SQL to keep.")
@json_option
@reports_errors
def save(
    *,
    folder: Path,
    name: str,
    question: str | None,
    param: tuple[str, ...],
    query: str | None,
    as_json: bool,
) -> None:
    """Keep a question with its parameters under a NAME, for `audit ask --saved NAME`."""
    from ledger.questions import saved as kept
    from ledger.questions.library import find

    if (question is None) == (query is None):
        raise UsageError(
            "give either a question or a query to keep",
            code="TW3735",
            help="use `--question` or `--sql`",
        )
    if question is not None:
        find(question)
    kept.save(_saved_in(folder), name, kept.Saved(question, _parameters(param), query))
    emit({"saved": name}, schema="audit.save", as_json=as_json, text=lambda: f"saved `{name}`")


def _print(answer: Answer, form: str) -> None:
    if form == "json":
        value: dict[str, Any] = answer.as_json()
        emit(value, schema="audit.ask", as_json=True, text=str)
    else:
        written = {"text": answer.as_text, "csv": answer.as_csv, "html": answer.as_html}[form]()
        click.echo(written, nl=form == "text")


def _sql(folder: Path, query: str, *, seconds: float = 5.0, as_json: bool) -> None:
    from ledger.questions import sql as queries
    from ledger.questions.workspace import Workspace

    found = queries.run(Workspace(folder).history_path, query, seconds=seconds)
    rows = [["" if cell is None else str(cell) for cell in row] for row in found.rows]
    emit(
        {"columns": found.columns, "rows": found.rows, "cut": found.cut},
        schema="audit.sql",
        as_json=as_json,
        text=lambda: table(found.columns, rows) + ("\n(more rows were left out)" * found.cut),
    )


def _saved_in(folder: Path) -> Path:
    return folder / "state" / "audit" / "saved.json"


def _parameters(words: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(
                f"`{word}` is not a parameter",
                code="TW3736",
                help="write it as NAME=VALUE",
            )
        found[name] = value
    return found
