"""``twinward node``: join, endorse, renew, leave."""

from __future__ import annotations

import inspect
import shutil
import sys
from contextlib import closing, redirect_stderr, redirect_stdout
from copy import copy
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from twinward.clock import SystemClock, iso
from twinward.console import emit, json_option, next_step, reports_errors, say, table
from twinward.errors import UsageError

if TYPE_CHECKING:
    from hospital_node.members import Asking
    from twinward.founding import Founding
    from twinward.ids import OrgName

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))


def join_like(init: click.Command) -> click.Command:
    """The command ``join``: with the options of ``init``, whose work it begins with."""
    options = [copy(one) for one in init.params if one.name not in {"folder", "name", "as_json"}]
    for one in options:
        one.required = False  # a join that goes on, or follows an `init`, needs none of them

    @click.command(params=options)
    @FOLDER
    @click.argument("token", required=False)
    @click.option("--no-wait", is_flag=True, help="Do not wait for endorsements.")
    @json_option
    @reports_errors
    def join(
        *, folder: Path, token: str | None, no_wait: bool, as_json: bool, **made_with: Any
    ) -> None:
        """Join a network with the TOKEN of an invitation; - reads it from standard input.

        Makes keys and configuration in FOLDER unless `twinward node init` did. Whatever interrupts
        it, the same command without TOKEN goes on.
        """
        from hospital_node import join as joining

        network = joining.join(
            folder,
            _typed(token),
            make=lambda org: _make(folder, org, init=init, options=made_with),
            on_ledger=partial(_require_on_ledger, folder),
            tell=_tell,
            wait=not no_wait,
        )
        if network is None:
            emit(
                {"active": False, "identity": joining.identity_to_compare(folder)},
                schema="node.join",
                as_json=as_json,
                text=lambda: "not endorsed yet",
            )
            next_step(f"twinward node join {folder}")
            return
        _finish(folder, network, as_json=as_json)

    return join


def _typed(token: str | None) -> str | None:
    """The token; ``-`` stands for a line of standard input."""
    return sys.stdin.readline() if token == "-" else token  # noqa: S105 - the word for stdin


def _finish(folder: Path, network: Founding, *, as_json: bool) -> None:
    from hospital_node.dry_run import dry_run
    from hospital_node.join import identity_to_compare

    seen = dry_run(folder, network)
    emit(
        {
            "active": True,
            "identity": identity_to_compare(folder),
            "network": network.network,
            "members": [str(member.org) for member in network.members],
            "dry_run": {"patients": seen.patients, "step_ms": round(seen.step_ms, 1)},
        },
        schema="node.join",
        as_json=as_json,
        text=lambda: (
            f"dry run: a step on {seen.patients} made-up patients in {seen.step_ms:.0f} ms, "
            f"nothing left; the coordinator answered at block {seen.block}\n"
            f"this hospital is a member of `{network.network}`"
        ),
    )
    next_step(f"twinward node up {folder}")


def _make(folder: Path, org: OrgName, *, init: click.Command, options: dict[str, Any]) -> None:
    """What ``init`` makes, made aside; the keys move in last, so a folder has them with the rest.

    Raises:
        UsageError: TW6045, and what ``init`` raises.
    """
    from twinward.organisation import Organisation

    keys = Organisation(folder).secrets
    if keys.exists():
        return
    if options["data"] is None:
        raise UsageError(
            "a new node needs the file of its patient records",
            code="TW6045",
            help="add `--data FILE`",
        )
    aside = folder / "join" / "made"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700, parents=True)
    made = inspect.unwrap(init.callback or _nothing)
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        made(folder=aside, name=org, as_json=False, **options)
    for path in sorted(aside.iterdir()):
        if path.name != keys.name:
            path.replace(folder / path.name)
    (aside / keys.name).replace(keys)


def _nothing(**_: Any) -> None:
    """A command without a callback does nothing."""


def _tell(step: int, text: str) -> None:
    from hospital_node.join import STEPS

    say(f"[{step}/{STEPS}] {text}")
    if "identity" in text:
        say(
            "      each other hospital asks for it by phone, then:\n"
            "      twinward node endorse FOLDER HOSPITAL --identity FINGERPRINT"
        )


def _require_on_ledger(folder: Path, founding: Founding, org: OrgName) -> None:
    from hospital_node.node import connect_ledger, require_on_ledger
    from twinward.organisation import Organisation

    with closing(
        connect_ledger(founding, Organisation(folder).ledger_key(), folder=folder)
    ) as chain:
        chain.check_contracts(founding_digest=founding.digest)
        require_on_ledger(chain, founding, [org])


@click.command()
@FOLDER
@click.argument("hospital", required=False)
@click.option("--identity", help="Its fingerprint as it was said by phone, 16 digits or more.")
@json_option
@reports_errors
def endorse(*, folder: Path, hospital: str | None, identity: str | None, as_json: bool) -> None:
    """Show who asks to join; sign and vote for HOSPITAL after comparing its identity by phone."""
    from hospital_node import audit_log, members, membership
    from hospital_node.node import connect_ledger
    from twinward.organisation import Organisation

    if hospital is not None and identity is None:
        raise click.UsageError("--identity is needed: ask the hospital for it by phone")
    founding = membership.load_founding(folder)
    chain = connect_ledger(founding, Organisation(folder).ledger_key(), folder=folder)
    try:
        with members.network(folder, founding) as stub:
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
    finally:
        chain.close()
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
    from hospital_node import audit_log
    from hospital_node import renew as renewing

    audit_log.commanded(folder, "renew")
    until = renewing.renew(folder, _typed(token))
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
    from hospital_node import audit_log
    from hospital_node import leave as leaving

    audit_log.commanded(folder, "leave")
    written = leaving.leave(folder, clock=SystemClock())
    emit(
        {"page": str(written), "receipt": str(folder / leaving.RECEIPT)},
        schema="node.leave",
        as_json=as_json,
        text=lambda: f"this hospital left; read what stays: {written}",
    )
    next_step(f"start the node again for patients' withdrawals: twinward node up {folder}")


COMMANDS = (endorse, renew, leave)
