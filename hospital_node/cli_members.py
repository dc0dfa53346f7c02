"""``twinward node``: endorse who asks to join, renew the certificate, leave."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hospital_node.cli_join import typed
from twinward.clock import SystemClock, iso
from twinward.console import emit, json_option, next_step, reports_errors, table
from twinward.errors import UsageError

if TYPE_CHECKING:
    from hospital_node.members import Asking
    from twinward.founding import Founding

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))


@click.command()
@FOLDER
@click.argument("hospital", required=False)
@click.option("--identity", help="Its fingerprint as it was said by phone, 16 digits or more.")
@json_option
@reports_errors
def endorse(*, folder: Path, hospital: str | None, identity: str | None, as_json: bool) -> None:
    """Show who asks to join; sign and vote for HOSPITAL after comparing its identity by phone."""
    from hospital_node import audit_log, forwarder_command, members, membership
    from hospital_node.node import connect_ledger
    from twinward.organisation import Organisation

    if hospital is not None and identity is None:
        raise click.UsageError("--identity is needed: ask the hospital for it by phone")
    founding = membership.load_founding(folder)
    key = Organisation(folder).ledger_key()
    with (
        forwarder_command.of_member(folder),
        closing(connect_ledger(founding, key, folder=folder)) as chain,
        members.network(folder, founding) as stub,
    ):
        founding = members.refresh(folder, founding, stub, chain)
        waiting = members.asking(founding, stub)
        if hospital is None or identity is None:
            _show(waiting, as_json=as_json)
            return
        one = next((each for each in waiting if each.member.org == hospital), None)
        if one is None:
            _nobody(founding, hospital, as_json=as_json)
            return
        audit_log.commanded(folder, "endorse", about=[f"digest:{one.document.digest.hex()}"])
        done = members.endorse(folder, one, identity=identity, stub=stub, chain=chain)
    emit(
        {"hospital": hospital, "endorsed": list(done.endorsed), "needed": done.needed},
        schema="node.endorse",
        as_json=as_json,
        text=lambda: (
            f"`{hospital}` is endorsed by {', '.join(done.endorsed)}; {done.needed} are needed"
        ),
    )


def _nobody(founding: Founding, hospital: str, *, as_json: bool) -> None:
    """Endorsing a member again is done already; nobody of that name is a mistake."""
    if hospital not in {member.org for member in founding.members}:
        raise UsageError(
            f"nobody asks to join as `{hospital}`",
            code="TW6046",
            help="`twinward node endorse FOLDER` shows who does",
        )
    emit(
        {"hospital": hospital, "member": True},
        schema="node.endorse",
        as_json=as_json,
        text=lambda: f"`{hospital}` is a member already; nothing to do",
    )


def _show(waiting: list[Asking], *, as_json: bool) -> None:
    rows = [
        {
            "hospital": str(one.member.org),
            "identity": str(one.member.fingerprint),
            "endorsed": list(one.endorsed),
            "needed": one.needed,
        }
        for one in waiting
    ]
    emit(
        {"candidates": rows},
        schema="node.candidates",
        as_json=as_json,
        text=lambda: (
            table(
                ("HOSPITAL", "IDENTITY, TO BE COMPARED BY PHONE", "ENDORSED BY", "NEEDED"),
                [
                    (
                        str(one.member.org),
                        str(one.member.fingerprint),
                        ", ".join(one.endorsed) or "-",
                        str(one.needed),
                    )
                    for one in waiting
                ],
            )
            if waiting
            else "nobody asks to join"
        ),
    )


@click.command()
@FOLDER
@click.argument("token", required=False)
@json_option
@reports_errors
def renew(*, folder: Path, token: str | None, as_json: bool) -> None:
    """Fetch a new certificate for the same key; a node that is up takes it without a restart.

    A certificate that has expired needs the TOKEN of `twinward server invite --renew`.
    """
    from hospital_node import audit_log, forwarder_command
    from hospital_node import renew as renewing
    from twinward.join_token import JoinToken

    audit_log.commanded(folder, "renew")
    text = typed(token)
    join = None if text is None else forwarder_command.address_of(JoinToken.parse(text).address)
    with forwarder_command.of_member(folder, also=None if join is None else {"join": join}):
        until = renewing.renew(folder, text)
    emit(
        {"valid_until": iso(until)},
        schema="node.renew",
        as_json=as_json,
        text=lambda: f"the certificate holds until {iso(until)}",
    )


@click.command()
@FOLDER
@click.confirmation_option("--yes", prompt="Leave the network? Nothing trains here afterwards.")
@json_option
@reports_errors
def leave(*, folder: Path, as_json: bool) -> None:
    """Leave the network, and write a page on what stays, where, and why."""
    from hospital_node import audit_log, forwarder_command
    from hospital_node import leave as leaving

    audit_log.commanded(folder, "leave")
    with forwarder_command.of_member(folder):
        written = leaving.leave(folder, clock=SystemClock())
    emit(
        {"page": str(written), "receipt": str(folder / leaving.RECEIPT)},
        schema="node.leave",
        as_json=as_json,
        text=lambda: f"this hospital left; read what stays: {written}",
    )
    next_step(f"start the node again for patients' withdrawals: twinward node up {folder}")


COMMANDS = (endorse, renew, leave)
