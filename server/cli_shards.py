"""``twinward server shards`` and ``assemble``: a study that trains in parts, and its one model."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from server.study_queue import SUCCESSORS
from twinward.console import emit, json_option, next_step, reports_errors, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.shards import Shard

_FOLDER = click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))


@click.command()
@_FOLDER
@click.argument("study")
@click.option(
    "--train",
    "number",
    type=click.IntRange(0, 15),
    metavar="NUMBER",
    help="Train this shard now, for the first time or again, and follow its run in the queue.",
)
@click.option("--yes", is_flag=True, help="With --train: do not ask.")
@json_option
@reports_errors
def shards(*, folder: Path, study: str, number: int | None, yes: bool, as_json: bool) -> None:
    """Show the shards of STUDY: their models, which a hospital wants trained again, and the price.

    Somebody who withdrew leaves the model exactly when their shard is trained again without them,
    and `twinward server assemble` makes the study's model anew. Everyone else in that shard pays
    the price of a run once more; nobody in another shard pays anything.
    """
    if yes and number is None:
        raise click.UsageError("--yes goes with --train")
    found, price = _standing(folder, study)
    if number is None:
        emit(
            {"study": study, "shards": found, "price": price},
            schema="server.shards",
            as_json=as_json,
            text=lambda: _as_text(found, price),
        )
        _advise(folder, study, found)
        return
    from server import cli_run
    from server.cli_queue import added

    if not yes:
        click.echo(_price(price), err=True)
        click.confirm(f"Train shard {number} of `{study}`?", abort=True, err=True)
    entry = added(folder, study, successors=SUCCESSORS, shard=number)
    cli_run.show(cli_run.followed(folder, entry.number), as_json=as_json)
    next_step(f"once every shard is as it should be: twinward server assemble {folder} {study}")


def _standing(folder: Path, name: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    from ledger.endpoint import Endpoint
    from server import shards as standing
    from server import studies
    from server.founding_ceremony import load_founding
    from server.paths import ServerPaths
    from twinward.organisation import Organisation

    identity, founding = Organisation(folder).identity(), load_founding(folder)
    study = studies.load(folder, name, identity=identity.public)
    found = standing.of_study(ServerPaths(folder), study)
    with closing(Endpoint.of(founding, folder).chain(founding)) as chain:
        wanted = [
            None if shard.newest is None else standing.wanted_by(chain, founding, shard.newest.run)
            for shard in found
        ]
    rows = [_row(shard, by) for shard, by in zip(found, wanted, strict=True)]
    return rows, standing.price(study.plan)


def _row(shard: Shard, wanted_by: str | None) -> dict[str, Any]:
    newest = shard.newest
    return {
        "shard": shard.number,
        "runs": shard.runs,
        "model": None if newest is None else newest.run,
        "wanted_by": wanted_by,
    }


def _as_text(found: Sequence[dict[str, Any]], price: dict[str, Any]) -> str:
    rows = [
        (
            str(one["shard"]),
            (one["model"] or "none yet")[:16],
            str(one["runs"]),
            "" if one["wanted_by"] is None else f"by {one['wanted_by']}",
        )
        for one in found
    ]
    headings = ("SHARD", "MODEL IN USE", "RUNS SO FAR", "WANTED AGAIN")
    return f"{table(headings, rows)}\n{_price(price)}"


def _price(price: dict[str, Any]) -> str:
    return (
        f"A run of one shard charges every patient in it, at each of {len(price['hospitals'])} "
        f"hospitals, epsilon {price['epsilon']:g} at\ndelta {price['delta']:g} "
        f"({price['mu2']:.4f} of mu^2, {price['attempts']} attempts reserved), for good; patients "
        "of other shards pay nothing.\nWhat patients have left is known to their hospitals only."
    )


def _advise(folder: Path, study: str, found: Sequence[dict[str, Any]]) -> None:
    again = f"twinward server shards {folder} {study} --train"
    for one in found:
        if one["model"] is None or one["wanted_by"] is not None:
            next_step(f"{again} {one['shard']}")
            return
    next_step(f"twinward server assemble {folder} {study}")


@click.command()
@_FOLDER
@click.argument("study")
@json_option
@reports_errors
def assemble(*, folder: Path, study: str, as_json: bool) -> None:
    """Make the model of STUDY from the models of its shards; retire what it replaces.

    The mean of the newest models, one for each shard, signed and on the ledger, in one file with
    the evidence of every shard. Costs nobody any privacy. The same command repairs one that died.
    """
    from server import assemble as assembling
    from server import cli_members
    from twinward.clock import SystemClock

    cli_members.enter(folder, "assemble")
    made = assembling.assemble(folder, study, clock=SystemClock())
    said = made.document.payload
    emit(
        {
            "name": said["name"],
            "digest": made.document.digest.hex(),
            "members": said["members"],
            "folder": str(made.folder),
            "pack": str(made.pack),
            "retired": list(made.retired),
        },
        schema="server.assemble",
        as_json=as_json,
        text=lambda: "\n".join(
            [
                f"assembled: {made.folder}",
                *(f"retired: {one[:16]}" for one in made.retired),
            ]
        ),
    )
    next_step(f"twinward verify {made.pack}")


COMMANDS = (shards, assemble)
