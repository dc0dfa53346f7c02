"""``twinward consent``: what a patient's own device does. It never runs at the hospital."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinward.clock import SystemClock, iso
from twinward.console import emit, json_option, next_step, reports_errors, say, table
from twinward.errors import TwinwardError

if TYPE_CHECKING:
    from consent.letters import Letter
    from consent.terms import Terms
    from consent.wallet import Outcome

WALLET = click.argument("wallet", type=click.Path(path_type=Path, file_okay=False))
_MONTH_SECONDS = 30.44 * 86_400


@click.group()
def consent() -> None:
    """Grant, withdraw and show consents, from a wallet of one's own."""


@consent.command()
@WALLET
@click.option(
    "--letters",
    "letter_files",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of enrolment letters; may be given several times.",
)
@click.option(
    "--purpose", "purposes", multiple=True, default=("heart-research",), show_default=True
)
@click.option("--months", default=24.0, show_default=True, help="How long the consent holds.")
@click.option("--yes", is_flag=True, help="Do not show the text and ask; for programs.")
@click.option(
    "--refuse-every",
    default=0,
    help="Play patients of whom every N-th says no (0: all say yes).",
)
@json_option
@reports_errors
def grant(
    *,
    wallet: Path,
    letter_files: tuple[Path, ...],
    purposes: tuple[str, ...],
    months: float,
    yes: bool,
    refuse_every: int,
    as_json: bool,
) -> None:
    """Answer enrolment letters: sign a consent for each, with a fresh key kept in WALLET."""
    from consent import wallet as answering
    from consent.letters import read_letters
    from consent.patient_keys import Choice, Wallet

    letters = [letter for path in letter_files for letter in read_letters(path)]
    clock = SystemClock()
    opened = Wallet.open(wallet)
    try:
        outcomes = answering.grant(
            opened,
            letters,
            choice=Choice(purposes, clock.now() + months * _MONTH_SECONDS),
            clock=clock,
            says_yes=lambda number, _: (
                refuse_every == 0 or number % refuse_every != refuse_every - 1
            ),
            show_terms=answering.unread if yes else _read_and_agree,
        )
    finally:
        opened.close()
    _report(outcomes, schema="consent.grant", as_json=as_json)
    next_step(f"twinward consent show {wallet}")


@consent.command()
@WALLET
@click.argument("references", nargs=-1, required=True)
@json_option
@reports_errors
def withdraw(*, wallet: Path, references: tuple[str, ...], as_json: bool) -> None:
    """Withdraw the consent of each letter REFERENCE; holds from the receipt on."""
    from consent import wallet as answering
    from consent.patient_keys import Wallet

    opened = Wallet.open(wallet)
    try:
        outcomes = answering.withdraw(opened, references, clock=SystemClock())
    finally:
        opened.close()
    _report(outcomes, schema="consent.withdraw", as_json=as_json)


@consent.command()
@WALLET
@click.argument("references", nargs=-1)
@click.option("--limit", default=20, show_default=True, help="Show at most this many.")
@json_option
@reports_errors
def show(*, wallet: Path, references: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Show what each hospital has on record for the letters in WALLET."""
    from consent import wallet as answering
    from consent.patient_keys import Wallet

    opened = Wallet.open(wallet)
    try:
        chosen = references or tuple(entry.reference for entry in opened.entries())
        found = answering.show(opened, chosen[:limit])
    finally:
        opened.close()
    entries = [
        {
            "reference": entry.reference,
            "hospital": entry.letter.hospital,
            "study": entry.letter.study.name,
            "answer": entry.answer.value,
            **(
                {"error": said.diagnostic.as_json()}
                if isinstance(said, TwinwardError)
                else {"on_record": said}
            ),
        }
        for entry, said in found
    ]
    emit(
        {"entries": entries, "in_wallet": len(chosen)},
        schema="consent.show",
        as_json=as_json,
        text=lambda: _entries_as_text(entries, in_wallet=len(chosen)),
    )


def _read_and_agree(letter: Letter, terms: Terms) -> None:
    """Show the very text that is signed for, and stop unless the patient agrees."""
    say(f"\n{terms.text}\n")
    click.confirm(f"Sign this for {letter.hospital}?", abort=True, err=True)


def _report(outcomes: list[Outcome], *, schema: str, as_json: bool) -> None:
    """Counts, receipts and failures; the exit status is the first failure's."""
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    counts = Counter("failed" if outcome.error else outcome.answer.value for outcome in outcomes)
    value = {
        "counts": dict(sorted(counts.items())),
        "outcomes": [
            {
                "reference": outcome.reference,
                "hospital": outcome.hospital,
                "answer": outcome.answer.value,
                "receipt": outcome.receipt,
                "error": None if outcome.error is None else outcome.error.diagnostic.as_json(),
            }
            for outcome in outcomes
        ],
    }
    emit(value, schema=schema, as_json=as_json, text=lambda: _outcomes_as_text(outcomes, counts))
    if failed and failed[0].error is not None:
        if not as_json:
            say(failed[0].error.diagnostic.as_text())
        raise click.exceptions.Exit(failed[0].error.diagnostic.exit_status)


def _outcomes_as_text(outcomes: list[Outcome], counts: Counter[str]) -> str:
    lines = [", ".join(f"{count} {answer}" for answer, count in sorted(counts.items()))]
    if len(outcomes) <= 5:
        lines += [_receipt_as_text(outcome) for outcome in outcomes if outcome.receipt]
    return "\n".join(lines)


def _receipt_as_text(outcome: Outcome) -> str:
    receipt = outcome.receipt or {}
    text = f"receipt of {outcome.hospital} for {outcome.reference}: received "
    text += iso(float(receipt["received_at"]))
    if "on_chain_by" in receipt:
        step = receipt["excluded_from_step"]
        text += "; not used from now on" if step is None else f"; not used from step {step} on"
        text += f"; on the ledger by {iso(float(receipt['on_chain_by']))}"
    elif "expiry" in receipt:
        text += f"; holds until {iso(float(receipt['expiry']))}"
    return text


def _entries_as_text(entries: list[dict[str, Any]], *, in_wallet: int) -> str:
    rows = []
    for entry in entries:
        record = entry.get("on_record") or {}
        state = entry["error"]["message"] if "error" in entry else record.get("rule", "")
        rows.append((entry["reference"], entry["hospital"], entry["study"], entry["answer"], state))
    text = table(("LETTER", "HOSPITAL", "STUDY", "ANSWER", "ON RECORD"), rows)
    hidden = in_wallet - len(entries)
    return text if hidden <= 0 else f"{text}\nand {hidden} more; use --limit"
