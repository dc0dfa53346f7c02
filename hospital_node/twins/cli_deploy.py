"""``twinward twin adopt`` and ``deploy``: what new twins of this hospital start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hospital_node.twins.cli_arguments import FILE, FOLDER, opened
from twinward.console import emit, json_option, next_step, reports_errors, say

if TYPE_CHECKING:
    from models.deployment import Deployment


@click.command()
@FOLDER
@click.argument("pack", type=FILE)
@json_option
@reports_errors
def adopt(*, folder: Path, pack: Path, as_json: bool) -> None:
    """Take over what twins start from, from the evidence PACK of a run, if it verifies.

    A model that its coordinator retired is refused, if the ledger can be asked.

    Nothing leaves. Twins that exist stay as they are until they are made anew.
    """
    from hospital_node import retired
    from hospital_node.audit_log import commanded
    from hospital_node.twins import released
    from twinward.errors import TwinModelError
    from twinward.organisation import Organisation

    found = released.read(pack, founding=Organisation(folder).founding_file.read_bytes())
    if not retired.require_in_use(folder, pack):
        say("the ledger does not answer: whether this model was retired could not be asked")
    commanded(folder, "twin-population-adopted", about=[f"digest:{found.digest}"])
    name = found.prior.twin
    with opened(folder) as service:
        service.take_over(found)
        try:
            made: Deployment | None = service.deploy(name)
        except TwinModelError as error:
            if error.code != "TW7186":
                raise
            made = None
            say(f"{error.diagnostic.message}; {error.diagnostic.help}")
    emit(
        {
            "twin": name,
            "model": found.prior.name,
            "release": found.digest,
            "epsilon": found.epsilon,
            "noise_sd": found.noise_sd,
            "deployed": None if made is None else _as_json(made),
        },
        schema="twin.adopt",
        as_json=as_json,
        text=lambda: "\n".join(
            [
                f"taken over for `{name}`: release {found.digest[:16]}, epsilon {found.epsilon:g}",
                *(made.words if made else ("not in use yet",)),
            ]
        ),
    )
    if made is None:
        next_step(f"twinward twin deploy {folder} --twin {name}")
    else:
        next_step(f"twinward twin individualise {folder} RECORD --twin {name} --history FILE")


@click.command()
@FOLDER
@click.option("--twin", "name", default="glucose-forecast/1", show_default=True)
@json_option
@reports_errors
def deploy(*, folder: Path, name: str, as_json: bool) -> None:
    """Judge by this hospital's own patients what new twins start from; refuse what is no help.

    The hospital's own layer is made anew. Nothing of it leaves.
    """
    from hospital_node.audit_log import commanded

    commanded(folder, "twin-deployed", about=[f"twin:{name.replace('/', '.')}"])
    with opened(folder) as service:
        made = service.deploy(name)
    emit(
        {"twin": name, **_as_json(made)},
        schema="twin.deploy",
        as_json=as_json,
        text=lambda: "\n".join(made.words),
    )


def _as_json(made: Deployment) -> dict[str, Any]:
    return {"private": made.private, "words": list(made.words), "figures": dict(made.figures)}


COMMANDS = (adopt, deploy)
