"""``twinward node standing`` and ``mandate``: what ends or lends a patient's voice. Stays here.

The vault's own transactions make each change whole, also while the node runs: its next cohort, and
so the next step of a run, is drawn with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hospital_node.record import RECORD, doubt, typed
from twinward.console import emit, json_option, next_step, reports_errors, table

if TYPE_CHECKING:
    from consent.register import KeptMandate, Register
    from consent.standing import Standing
    from consent.vault import Vault
    from twinward.ids import RecordNumber

_FOLDER = click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
_DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.command()
@_FOLDER
@RECORD
@click.option("--of-age-on", type=_DAY, help="Day on which the patient is of age.")
@click.option("--died-on", type=_DAY, help="Day on which the patient died.")
@click.option(
    "--objects/--objects-no-more",
    default=None,
    help="The patient objects, from now on, to every use but their own care; or takes it back.",
)
@json_option
@reports_errors
def standing(
    *,
    folder: Path,
    record: str,
    of_age_on: datetime | None,
    died_on: datetime | None,
    objects: bool | None,
    as_json: bool,
) -> None:
    """Show what the register says of a patient, or write it down; days begin at midnight UTC.

    An objection also withdraws what the patient signed for studies, for good: a later yes needs a
    new letter. `twinward node withdrawals` shows how far that is.
    """
    from dataclasses import replace

    from consent.register import Register
    from twinward.clock import SystemClock

    number = typed(record)
    withdrawn = 0
    with _vault(folder, "standing") as vault:
        register = Register(vault)
        known = register.standing(number)
        now = replace(
            known,
            of_age_at=known.of_age_at if of_age_on is None else _seconds(of_age_on),
            died_at=known.died_at if died_on is None else _seconds(died_on),
            objected_at=known.objected_at
            if objects is None
            else (int(SystemClock().now()) if objects else None),
        )
        if now != known:
            register.note(number, now)
        if objects:
            withdrawn = _withdraw(folder, vault, number)
        has_letter = vault.has_letter(number)
    emit(
        {**_shown(now), "withdrawn": withdrawn, "has_letter": has_letter},
        schema="node.standing",
        as_json=as_json,
        text=lambda: _in_words(now) + (f"; withdrawn from {withdrawn} studies" * bool(withdrawn)),
    )
    doubt(has_letter=has_letter)
    if withdrawn:
        next_step(f"twinward node withdrawals {folder} --of -")


@click.command()
@_FOLDER
@RECORD
@click.option(
    "--role", type=click.Choice(["guardian", "delegate"]), required=True, help="In which role."
)
@click.option("--holder", required=True, help="Who may say yes, in words of the hospital.")
@click.option("--purpose", "purposes", multiple=True, required=True, help="To what; with limits.")
@click.option("--until", type=_DAY, required=True, help="First day on which it is over.")
@click.option("--given-by", type=int, help="Number of the mandate that this one is handed on from.")
@json_option
@reports_errors
def mandate(
    *,
    folder: Path,
    record: str,
    role: str,
    holder: str,
    purposes: tuple[str, ...],
    until: datetime,
    given_by: int | None,
    as_json: bool,
) -> None:
    """Write down that somebody may say yes for a patient; nobody hands on more than they hold."""
    from consent import purposes as table_of_purposes
    from consent.register import Register
    from consent.standing import Mandate, Role
    from twinward.clock import SystemClock

    number = typed(record)
    with _vault(folder, "mandate") as vault:
        given = Mandate(
            Role(role),
            table_of_purposes.bits(purposes),
            int(SystemClock().now()),
            _seconds(until),
        )
        made = Register(vault).give(number, given, holder=holder, given_by=given_by)
        has_letter = vault.has_letter(number)
    emit(
        {"mandate": made},
        schema="node.mandate",
        as_json=as_json,
        text=lambda: f"mandate {made}; only an end takes it back",
    )
    doubt(has_letter=has_letter)
    next_step(f"twinward node letters {folder} --study STUDY --mandate {made} --out FILE")


@click.command()
@_FOLDER
@RECORD
@click.option("--end", type=int, help="Number of a mandate that ends now.")
@json_option
@reports_errors
def mandates(*, folder: Path, record: str, end: int | None, as_json: bool) -> None:
    """Show who may speak for a patient; with --end, end a mandate and what was said under it."""
    from twinward.clock import SystemClock

    number = typed(record)
    with _register(folder, "mandates") as register:
        if end is not None:
            register.end(end, of=number, now=int(SystemClock().now()))
        found = register.mandates(number)
    emit(
        {"mandates": [_row(one) for one in found]},
        schema="node.mandates",
        as_json=as_json,
        text=lambda: table(
            ["Number", "Role", "Holder", "Purposes", "Until", "Handed on from"],
            [[str(value) for value in _row(one).values()] for one in found],
        ),
    )


def _withdraw(folder: Path, vault: Vault, record: RecordNumber) -> int:
    """What the patient signed for studies ends; their own care goes on. How many studies."""
    from consent import erased
    from hospital_node import care_study, membership
    from hospital_node.settings import FILE, NodeSettings
    from twinward.clock import SystemClock
    from twinward.organisation import Organisation
    from twinward.settings import load

    clock = SystemClock()
    care = care_study.of(
        folder,
        founding=membership.load_founding(folder),
        identity=Organisation(folder).identity(),
        clock=clock,
    )
    now, within = int(clock.now()), load(NodeSettings, folder / FILE).on_chain_by_seconds
    ended = erased.withdraw_all(vault, record, now=now, on_chain_by=now + within, but=[care.id32])
    return len(ended)


@contextmanager
def _register(folder: Path, command: str) -> Iterator[Register]:
    from consent.register import Register

    with _vault(folder, command) as vault:
        yield Register(vault)


@contextmanager
def _vault(folder: Path, command: str) -> Iterator[Vault]:
    from hospital_node import audit_log
    from hospital_node.consents import open_vault

    audit_log.commanded(folder, command)
    vault = open_vault(folder)
    try:
        yield vault
    finally:
        vault.store.close()


def _seconds(day: datetime) -> int:
    return int(day.replace(tzinfo=UTC).timestamp())


def _day(moment: int | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, tz=UTC).date().isoformat()


def _shown(standing: Standing) -> dict[str, str | None]:
    return {
        "of_age_on": _day(standing.of_age_at),
        "died_on": _day(standing.died_at),
        "objected_on": _day(standing.objected_at),
    }


def _in_words(standing: Standing) -> str:
    known = [f"{what.replace('_', ' ')} {when}" for what, when in _shown(standing).items() if when]
    return ", ".join(known) or "nothing is written down that ends what this patient signed"


def _row(kept: KeptMandate) -> dict[str, object]:
    from consent import purposes

    return {
        "number": kept.number,
        "role": str(kept.mandate.role),
        "holder": kept.holder,
        "purposes": ", ".join(purposes.names(kept.mandate.purposes)) or "none: may only stop",
        "until": _day(kept.mandate.ends),
        "given_by": kept.given_by,
    }


COMMANDS = (standing, mandate, mandates)
