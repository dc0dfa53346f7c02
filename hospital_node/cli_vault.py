"""``twinward node vault-key``: another key for the consent database."""

from __future__ import annotations

from pathlib import Path

import click

from hospital_node.settings import FILE, NodeSettings
from twinward.console import emit, json_option, next_step, reports_errors
from twinward.settings import load


@click.command(name="vault-key")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@json_option
@reports_errors
def vault_key(*, folder: Path, as_json: bool) -> None:
    """Give the consent database a new key and hide everyone in it again; the node is stopped.

    When it ends in the middle, give it again. Older backups open with the key of their time only.
    """
    from hospital_node import consents

    load(NodeSettings, folder / FILE)
    file = consents.rotate(folder)
    emit(
        {"key": str(file)},
        schema="node.vault-key",
        as_json=as_json,
        text=lambda: f"the consent database has a new key: {file}",
    )
    next_step(
        f"twinward node backup {folder} ..., with the new key; then twinward node up {folder}"
    )


COMMANDS = (vault_key,)
