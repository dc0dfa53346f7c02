"""Commands of ``twinward node`` about contracts that move to new addresses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from twinward.console import emit, json_option, next_step, reports_errors, table

if TYPE_CHECKING:
    from twinward.moved import Move

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
MOVE = click.argument("move", type=click.Path(path_type=Path, dir_okay=False))


@click.command(name="check-move")
@FOLDER
@MOVE
@json_option
@reports_errors
def check_move(*, folder: Path, move: Path, as_json: bool) -> None:
    """Show what MOVE asks for, if it is the next one and names exactly the active hospitals."""
    from hospital_node import moving

    founding, found = moving.check(folder, move)
    signed = {by for by, _ in found.document.signatures}
    orgs = {one.fingerprint: str(one.org) for one in founding.hospitals}
    waiting = sorted(orgs[one] for one in found.signers if one not in signed)
    emit(
        {**_fields(found), "not_signed_yet": waiting},
        schema="node.check-move",
        as_json=as_json,
        text=lambda: f"{_shown(found)}\nnot signed yet: {', '.join(waiting) or 'nobody'}",
    )


@click.command(name="sign-move")
@FOLDER
@MOVE
@json_option
@reports_errors
def sign_move(*, folder: Path, move: Path, as_json: bool) -> None:
    """Check a MOVE of contracts and sign it for this hospital."""
    from hospital_node import audit_log, moving

    audit_log.commanded(folder, "sign-move")
    signed, found = moving.sign(folder, move)
    emit(
        {**_fields(found), "signed": str(signed)},
        schema="node.sign-move",
        as_json=as_json,
        text=lambda: f"{_shown(found)}\nsigned: {signed}",
    )
    next_step("send the signed copy to the coordinator")


@click.command(name="accept-move")
@FOLDER
@MOVE
@json_option
@reports_errors
def accept_move(*, folder: Path, move: Path, as_json: bool) -> None:
    """Take over MOVE, the coordinator's moves.json, if every active hospital signed it."""
    from hospital_node import audit_log, moving

    audit_log.commanded(folder, "accept-move")
    found = moving.accept(folder, move)
    emit(
        _fields(found),
        schema="node.accept-move",
        as_json=as_json,
        text=lambda: f"{_shown(found)}\ntaken over",
    )
    next_step(f"start the node again: twinward node up {folder}")


def _fields(move: Move) -> dict[str, object]:
    return {
        "number": move.number,
        "block": move.block,
        "reason": move.reason,
        "old": {name: move.old[name] for name in move.contracts},
        "new": {name: move.new[name] for name in move.contracts},
    }


def _shown(move: Move) -> str:
    rows = [(name, move.old[name], move.new[name]) for name in move.contracts]
    said = f"move {move.number}, from block {move.block}: {move.reason}"
    return f"{said}\n{table(('CONTRACT', 'FROM', 'TO'), rows)}"


COMMANDS = (check_move, sign_move, accept_move)
