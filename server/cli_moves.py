"""Commands of ``twinward server`` about moving contracts to new addresses."""

from __future__ import annotations

from pathlib import Path

import click

from twinward.console import emit, json_option, next_step, reports_errors
from twinward.files import read_given

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
FILE_PATH = click.Path(path_type=Path, dir_okay=False)


@click.command()
@FOLDER
@click.option(
    "--contract", "contracts", multiple=True, required=True,
    type=click.Choice(["provenance", "audit_anchor"]), help="What is to move; may be repeated.",
)  # fmt: skip
@click.option("--reason", required=True, help="For the hospitals and for auditors.")
@click.option("--block", type=click.IntRange(min=1), help="From which block on; default: the next.")
@json_option
@reports_errors
def move(
    *, folder: Path, contracts: tuple[str, ...], reason: str, block: int | None, as_json: bool
) -> None:
    """Propose new addresses for contracts; every active hospital has to sign."""
    from server import moving

    path, made = moving.propose(folder, contracts=contracts, reason=reason, block=block)
    emit(
        {"move": str(path), "number": made.number, "new": dict(made.new), "block": made.block},
        schema="server.move",
        as_json=as_json,
        text=lambda: f"move {made.number}, from block {made.block}: {path}",
    )
    next_step(f"send it to every hospital; each runs `twinward node sign-move`; {len(made.signers)}"
              " signatures are needed")  # fmt: skip


@click.command(name="publish-move")
@FOLDER
@click.argument("copies", nargs=-1, required=True, type=FILE_PATH)
@json_option
@reports_errors
def publish_move(*, folder: Path, copies: tuple[Path, ...], as_json: bool) -> None:
    """Put the contracts of a move on the ledger, once every active hospital has signed.

    COPIES are the files of `twinward node sign-move`.
    """
    from server import moving

    path, made = moving.publish(folder, [read_given(copy) for copy in copies])
    emit(
        {"moves": str(path), "number": made.number, "new": dict(made.new)},
        schema="server.publish-move",
        as_json=as_json,
        text=lambda: f"move {made.number} is on the ledger: {path}",
    )
    next_step(f"start the coordinator again, and give {path} to every hospital: each runs"
              " `twinward node accept-move` and starts its node again")  # fmt: skip


COMMANDS = (move, publish_move)
