"""``twinward node``: make, sign, approve, run and watch one hospital's node."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from hospital_node import (
    audit_cli,
    cli_approve,
    cli_backup,
    cli_forwarder,
    cli_join,
    cli_members,
    cli_moves,
    cli_standing,
    cli_support,
    cli_vault,
)
from hospital_node.cli_doctor import doctor
from hospital_node.cli_kill_switch import COMMANDS as KILL_SWITCH
from hospital_node.cli_policy import policy
from hospital_node.pseudonyms import pseudonyms
from hospital_node.record import RECORD, typed
from twinward.console import emit, json_option, next_step, reports_errors, table
from twinward.files import read_given

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
FILE_PATH = click.Path(path_type=Path, dir_okay=False)


@click.group()
def node() -> None:
    """Run one hospital's node."""


for command in (
    *audit_cli.COMMANDS,
    *cli_approve.COMMANDS,
    *cli_backup.COMMANDS,
    *cli_forwarder.COMMANDS,
    *cli_members.COMMANDS,
    *cli_moves.COMMANDS,
    *cli_standing.COMMANDS,
    *cli_support.COMMANDS,
    *cli_vault.COMMANDS,
    *KILL_SWITCH,
    doctor,
    policy,
    pseudonyms,
):
    node.add_command(command)


@node.command()
@FOLDER
@click.option("--name", required=True, help="Short name of the hospital.")
@click.option(
    "--data", required=True, type=click.Path(path_type=Path),
    help="File of patient records or admissions, or folder of recordings or diaries.",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the desk.")
@click.option("--base-port", default=9500, show_default=True, help="First of two ports.")
@click.option("--study", "studies", multiple=True, help="A study that the hospital agreed to.")
@click.option(
    "--model", "models", multiple=True, default=("cardiac_risk/1",), show_default=True,
    help="A model that these studies may train.",
)  # fmt: skip
@click.option(
    "--purpose", "purposes", multiple=True, default=("heart-research",), show_default=True,
    help="What these studies may be for.",
)  # fmt: skip
@click.option(
    "--visible-updates", is_flag=True,
    help="Agree that updates leave without masks, for robust rules.",
)  # fmt: skip
@cli_forwarder.way_out_options
@json_option
@reports_errors
def init(
    *,
    folder: Path,
    name: str,
    data: Path,
    host: str,
    base_port: int,
    studies: tuple[str, ...],
    models: tuple[str, ...],
    purposes: tuple[str, ...],
    visible_updates: bool,
    as_json: bool,
    **way_out: Any,
) -> None:
    """Make a hospital's keys, its join request and its configuration in FOLDER."""
    from hospital_node import policy_file, settings
    from hospital_node.data import records
    from hospital_node.policy_terms import SitePolicy, StudyPolicy
    from ledger.account import address_of, new_key
    from twinward.ids import org_name
    from twinward.organisation import Organisation

    organisation, org = Organisation(folder), org_name(name)
    records.read(
        data, hospital=org
    )  # a file that cannot be trained on is refused before keys are made
    configuration = settings.NodeSettings(
        org=org,
        data=data.resolve(),
        host=host,
        desk_port=base_port,
        flower_port=base_port + 1,
        forwarder=cli_forwarder.chosen(**way_out),
    )
    agreed = SitePolicy(
        studies=tuple(
            StudyPolicy(
                study=study,
                models=models,
                purposes=purposes,
                visible_updates=visible_updates,
            )
            for study in studies
        )
    )
    key = new_key()
    organisation.create(org=org, role="hospital", ledger_key=key, ledger_account=address_of(key))
    settings.write(folder / settings.FILE, configuration)
    policy_file.write(folder, agreed)
    request = organisation.request_file(org)
    identity = organisation.identity().public.fingerprint
    emit(
        {"folder": str(folder), "request": str(request), "identity": identity},
        schema="node.init",
        as_json=as_json,
        text=lambda: f"node of `{org}` made in {folder}\nidentity {identity}\nrequest  {request}",
    )
    next_step("send the request to the coordinator; sign the founding file that comes back")


node.add_command(cli_join.join_like(init))


@node.command()
@FOLDER
@click.argument("founding", type=FILE_PATH)
@json_option
@reports_errors
def sign(*, folder: Path, founding: Path, as_json: bool) -> None:
    """Check a FOUNDING file and sign it for this hospital."""
    from hospital_node import membership

    signed, draft = membership.sign(folder, founding)
    rows = [(m.org, m.role, m.fingerprint[:16], m.ledger_account) for m in draft.members]
    emit(
        {"signed": str(signed), "network": draft.network, "members": [row[0] for row in rows]},
        schema="node.sign",
        as_json=as_json,
        text=lambda: (
            table(("MEMBER", "ROLE", "IDENTITY", "LEDGER ACCOUNT"), rows) + f"\nsigned: {signed}"
        ),
    )
    next_step("compare the identities by phone, then send the signed copy to the coordinator")


@node.command()
@FOLDER
@click.argument("founding", type=FILE_PATH)
@json_option
@reports_errors
def accept(*, folder: Path, founding: Path, as_json: bool) -> None:
    """Take over the complete FOUNDING file, signed by every member."""
    from hospital_node import membership

    network = membership.accept(folder, founding).network
    emit(
        {"network": network},
        schema="node.accept",
        as_json=as_json,
        text=lambda: f"this node belongs to `{network}` now",
    )
    next_step(f"twinward node approve {folder} study.json plan.json")


@node.command()
@FOLDER
@click.argument("plan", type=FILE_PATH)
@json_option
@reports_errors
def price(*, folder: Path, plan: Path, as_json: bool) -> None:
    """Say what a run of PLAN would cost each patient, a retraining too; charges nothing."""
    from hospital_node import accounts

    cost = accounts.price_of(folder, read_given(plan))
    emit(cost, schema="node.price", as_json=as_json, text=lambda: str(cost["text"]))


@node.command()
@FOLDER
@RECORD
@click.option("--epsilon", type=float, help="The most that this patient allows, for life.")
@click.option("--remove", is_flag=True, help="Take the patient's own limit back.")
@json_option
@reports_errors
def limit(*, folder: Path, record: str, epsilon: float | None, remove: bool, as_json: bool) -> None:
    """Show the account of one patient, or set the lower limit that the patient asks for."""
    from hospital_node import accounts, audit_log

    if remove and epsilon is not None:
        raise click.UsageError("give --epsilon or --remove, not both")
    number = typed(record)
    change = {"epsilon": None if remove else epsilon} if remove or epsilon is not None else {}
    if change:
        audit_log.commanded(folder, "limit")
    found = accounts.account(folder, number, **change)
    emit(
        found,
        schema="node.limit",
        as_json=as_json,
        text=lambda: (
            f"epsilon {found['epsilon_spent']:g} of {found['epsilon_limit']:g} spent, at delta "
            f"{found['delta']:g}, worst case"
        ),
    )


@node.command()
@FOLDER
@click.option("--study", required=True, help="Study to invite to.")
@click.option("--mandate", type=int, help="One letter, for who holds this mandate.")
@click.option("--out", required=True, type=FILE_PATH, help="File for the letters; must be new.")
@json_option
@reports_errors
def letters(*, folder: Path, study: str, mandate: int | None, out: Path, as_json: bool) -> None:
    """Write an enrolment letter for every patient, to be handed out on paper."""
    from hospital_node import audit_log, enrolment

    audit_log.commanded(folder, "letters")
    count = enrolment.write(folder, study=study, out=out, mandate=mandate)
    emit(
        {"letters": count, "out": str(out)},
        schema="node.letters",
        as_json=as_json,
        text=lambda: f"{count} letters in {out}; each stands for its patient, keep them safe",
    )
    next_step(f"twinward node up {folder}")


@node.command()
@FOLDER
@click.option("--end-with-stdin", is_flag=True, help="Stop when standard input ends.")
@reports_errors
def up(*, folder: Path, end_with_stdin: bool) -> None:
    """Start the node in FOLDER: daemon, consent desk and Flower's SuperNode; Ctrl-C stops all."""
    from hospital_node import overwriting

    overwriting.begin()
    from hospital_node import daemon, upgrade
    from twinward import child

    upgrade.require_known(folder)
    if end_with_stdin:
        child.end_with_stdin()
    sys.exit(daemon.main(folder))


@node.command()
@FOLDER
@click.confirmation_option(
    "--no-other-copy-is-in-use", prompt="Is every other copy of this node stopped for good?"
)
@json_option
@reports_errors
def recover(*, folder: Path, as_json: bool) -> None:
    """Go on with a privacy book from a backup; all patients pay for what it forgot."""
    from hospital_node import recovery

    charged = recovery.recover(folder)
    emit(
        {"charged_mu2": charged},
        schema="node.recover",
        as_json=as_json,
        text=lambda: f"every patient was charged {charged:.4f} of mu^2 for what was forgotten",
    )
    next_step(f"twinward node up {folder}")


@node.command()
@FOLDER
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True)
@json_option
@reports_errors
def statements(*, folder: Path, out: Path, as_json: bool) -> None:
    """Write what this hospital was shown of the ledger, for comparison by another hospital.

    Signed tips and headers of blocks; nothing in it is about patients.
    """
    from hospital_node import witness
    from twinward.files import write_atomic

    found = witness.statements(folder)
    write_atomic(out, found.encode())
    emit(
        {"tips": len(found.tips), "headers": len(found.headers), "file": str(out)},
        schema="node.statements",
        as_json=as_json,
        text=lambda: f"{len(found.tips)} signed tips, {len(found.headers)} headers: {out}",
    )
    next_step(f"twinward ledger fork {out} THEIRS --founding FILE --out FILE")


@node.command()
@FOLDER
@json_option
@reports_errors
def status(*, folder: Path, as_json: bool) -> None:
    """Show this node's health, cohort, budget and mirror. Stays inside the hospital."""
    from hospital_node import watch

    current = watch.status(folder)
    emit(current, schema="node.status", as_json=as_json, text=lambda: watch.as_text(current))
