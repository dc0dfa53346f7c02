"""``twinward node join``: an invitation becomes a member, with the options of ``init``."""

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

from twinward.console import emit, json_option, next_step, reports_errors, say
from twinward.errors import UsageError

if TYPE_CHECKING:
    from twinward.doctor.findings import Finding
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
        from hospital_node import cli_forwarder, forwarder_command
        from hospital_node import join as joining

        asked = {name: made_with[name] for name in cli_forwarder.OPTIONS}
        kept = forwarder_command.settings_of(folder)
        network = joining.join(
            folder,
            typed(token),
            way_out=kept or cli_forwarder.chosen(**asked),
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


def typed(token: str | None) -> str | None:
    """The token; ``-`` stands for a line of standard input."""
    return sys.stdin.readline() if token == "-" else token  # noqa: S105 - the word for stdin


def _finish(folder: Path, network: Founding, *, as_json: bool) -> None:
    from hospital_node import forwarder_command
    from hospital_node.dry_run import dry_run
    from hospital_node.join import identity_to_compare

    with forwarder_command.of_member(folder):
        faults = _faults(folder)
        seen = dry_run(folder, network)
    emit(
        {
            "active": True,
            "identity": identity_to_compare(folder),
            "network": network.network,
            "members": [str(member.org) for member in network.members],
            "faults": [each.as_json() for each in faults],
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
    next_step(f"twinward node {'doctor' if faults else 'up'} {folder}")


def _faults(folder: Path) -> list[Finding]:
    """What the doctor found wrong here; a member with faults is a member all the same."""
    from hospital_node.doctor.checks import CHECKS
    from hospital_node.doctor.site import Site
    from twinward.doctor.findings import Result, examine

    found = list(examine(Site(folder), CHECKS))
    faults = [each for each in found if each.result is Result.FAULT]
    say(f"doctor: {len(found)} checks, {len(faults)} faults")
    for each in faults:
        say(f"      {each.check}: {each.what}; to mend it: {each.fix}")
    return faults


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
    from hospital_node.forwarder import addresses_of
    from hospital_node.forwarder_command import at_hand, settings_of
    from hospital_node.node import connect_ledger, require_on_ledger
    from twinward.organisation import Organisation

    key = Organisation(folder).ledger_key()
    with (
        at_hand(folder, settings=settings_of(folder), addresses=addresses_of(founding)),
        closing(connect_ledger(founding, key, folder=folder)) as chain,
    ):
        chain.check_contracts(founding_digest=founding.digest)
        require_on_ledger(chain, founding, [org])
