"""``twinward consent``: what patients do, from a wallet of their own, never from the hospital's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from consent.cli_outcomes import Progress, report
from consent.cli_wallet import COMMANDS, opened, passphrase_option, wallet_option
from consent.record import DAY
from twinward.clock import SystemClock
from twinward.console import emit, json_option, reports_errors, say, table
from twinward.errors import ConsentError, TwinwardError, UsageError

if TYPE_CHECKING:
    from consent.letters import Letter
    from consent.terms import Terms

_YEAR = 365 * DAY


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def consent() -> None:
    """Grant, withdraw and show consents."""


for command in COMMANDS:
    consent.add_command(command)


@consent.command()
@wallet_option
@click.option(
    "--letters",
    "paths",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    multiple=True,
    required=True,
    help="File of enrolment letters from a hospital (repeatable).",
)
@click.option("--all", "everyone", is_flag=True, help="Answer all letters without asking.")
@click.option(
    "--refuse-every",
    type=click.IntRange(min=2),
    help="With --all: every N-th patient says no, as in the demo.",
)
@click.option(
    "--purpose",
    "purposes",
    multiple=True,
    help="What the data may be used for (repeatable); without it, what the letter asks.",
)
@click.option(
    "--without",
    "without",
    metavar="CATEGORY",
    multiple=True,
    help="Data that you leave out (repeatable); the letter's text says what can be. Without it, "
    "what the yes left out that this one replaces.",
)
@click.option(
    "--everything", is_flag=True, help="Leave out nothing that `--without` does not name."
)
@click.option("--years", type=click.FloatRange(0.01, 20), default=5.0, show_default=True)
@click.option(
    "--again",
    is_flag=True,
    help="Also letters that were answered before: the new answer replaces the old one.",
)
@passphrase_option
@json_option
@reports_errors
def grant(
    folder: Path,
    *,
    paths: tuple[Path, ...],
    everyone: bool,
    refuse_every: int | None,
    purposes: tuple[str, ...],
    without: tuple[str, ...],
    everything: bool,
    years: float,
    again: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Answer letters: read the terms, then say yes or no to each."""
    from consent import wallet as answering
    from consent.letters import read_letters
    from consent.patient_keys import Choice

    if refuse_every and not everyone:
        raise UsageError(
            "`--refuse-every` without `--all` has no meaning",
            code="TW3035",
            help="answer each letter yourself, or add `--all`",
        )
    letters = [letter for path in paths for letter in read_letters(path)]
    clock = SystemClock()
    outcomes = answering.grant(
        opened(folder, passphrase_file),
        letters,
        choice=Choice(
            purposes=purposes,
            until=clock.now() + years * _YEAR,
            without=without if without or everything else None,
        ),
        clock=clock,
        says_yes=_chooser(everyone=everyone, refuse_every=refuse_every, without=without),
        again=again,
        show_terms=answering.unread if everyone else _same_as_shown,
        progress=Progress(len(letters)),
    )
    report(outcomes, schema="consent.grant", as_json=as_json)


@consent.command()
@wallet_option
@click.argument("letters", nargs=-1)
@click.option("--all", "everyone", is_flag=True, help="Every letter in the wallet.")
@click.option(
    "--through",
    metavar="HOST:PORT",
    help="As --by-front-door, at this address: for letters that name none.",
)
@click.option(
    "--by-front-door",
    is_flag=True,
    help="At the network's front door, which the letter names: if the hospital does not answer, "
    "or refuses.",
)
@passphrase_option
@json_option
@reports_errors
def withdraw(
    folder: Path,
    letters: tuple[str, ...],
    *,
    everyone: bool,
    through: str | None,
    by_front_door: bool,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Withdraw for the LETTERS of these names; no reason is asked, the receipt is shown."""
    from consent import front_door
    from consent import wallet as answering
    from consent.patient_keys import Answer

    wallet = opened(folder, passphrase_file)
    if everyone:
        letters = tuple(
            each.reference
            for each in wallet.entries()
            if each.answer is Answer.GRANTED
            or (each.answer is Answer.WITHDRAWN and each.receipt is None)
        )
    elif not letters:
        raise UsageError(
            "no letter was named",
            code="TW3036",
            help="name letters as `twinward consent show` lists them, or use `--all`",
        )
    clock, progress = SystemClock(), Progress(len(letters))
    if through is None and not by_front_door:
        outcomes = answering.withdraw(wallet, letters, clock=clock, progress=progress)
    else:
        outcomes = front_door.withdraw(
            wallet, letters, address=through, clock=clock, progress=progress
        )
    report(outcomes, schema="consent.withdraw", as_json=as_json)


@consent.command()
@wallet_option
@click.argument("letters", nargs=-1)
@click.option("--offline", is_flag=True, help="Only what the wallet knows; ask no hospital.")
@json_option
@reports_errors
def show(folder: Path, letters: tuple[str, ...], *, offline: bool, as_json: bool) -> None:
    """Show each letter, the answer, and what the hospital has on record."""
    from consent import wallet as answering
    from consent.patient_keys import Wallet

    wallet = Wallet.open(folder)
    wanted = letters or tuple(entry.reference for entry in wallet.entries())
    rows: list[dict[str, Any]] = []
    said = (
        [(wallet.entry(name), None) for name in wanted]
        if offline
        else answering.show(wallet, wanted)
    )
    for entry, record in said:
        failed = isinstance(record, TwinwardError)
        rows.append(
            {
                "letter": entry.reference,
                "hospital": entry.letter.hospital,
                "study": entry.letter.study.name,
                "answer": entry.answer.value,
                "without": list(entry.without),
                "record": None if failed else record,
                "error": record.diagnostic.as_json() if isinstance(record, TwinwardError) else None,
            }
        )

    def text() -> str:
        return table(
            ("letter", "hospital", "study", "answer", "left out", "at the hospital"),
            [
                (
                    row["letter"],
                    row["hospital"],
                    row["study"],
                    row["answer"],
                    "; ".join(row["without"]) or "-",
                    row["error"]["message"]
                    if row["error"]
                    else (row["record"] or {"rule": "not asked"})["rule"],
                )
                for row in rows
            ],
        )

    emit({"letters": rows}, schema="consent.show", as_json=as_json, text=text)


class _AskEach:
    """Shows a letter's text on the terminal and asks; sends nothing and asks nobody for it."""

    def __init__(self, without: tuple[str, ...]) -> None:
        self._without = without

    def __call__(self, _number: int, letter: Letter) -> bool:
        from consent.terms import terms

        say(f"\n{terms(letter.study, hospital=letter.hospital).text}")
        if self._without:
            say(f"You leave out: {'; '.join(self._without)}.")
        elif letter.study.optional:
            can = "; ".join(one.name for one in letter.study.optional)
            say(f"You leave out nothing; `--without` does (after a no, with `--again`): {can}.")
        return click.confirm("Do you say yes, and sign this?", err=True)


def _chooser(*, everyone: bool, refuse_every: int | None, without: tuple[str, ...]) -> Any:
    if not everyone:
        return _AskEach(without)
    return lambda number, _letter: not refuse_every or (number + 1) % refuse_every != 0


def _same_as_shown(letter: Letter, offered: Terms) -> None:
    """Sign only the text that the patient has read, whatever the desk says now.

    Raises:
        ConsentError: TW3037.
    """
    from consent.terms import terms

    if offered.digest != terms(letter.study, hospital=letter.hospital).digest:
        raise ConsentError(
            "the hospital's desk wants another text signed than the one that you read",
            code="TW3037",
            help="sign nothing; use the same version of Twinward as the hospital, and read again",
        )
