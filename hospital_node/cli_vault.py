"""``twinward node vault-key`` and ``vault-move``: another key, another place for the consents."""

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


@click.command(name="vault-move")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@json_option
@reports_errors
def vault_move(*, folder: Path, as_json: bool) -> None:
    """Move the consent database into the server that `vault_server` in node.toml names.

    The node is stopped, and no other command of it runs. All or nothing: the file goes once every
    row is on the server's disk. When it ends in the middle, give it again. There is no way back.
    """
    from hospital_node import consents

    load(NodeSettings, folder / FILE)
    url, rows = consents.move(folder)
    emit(
        {"server": str(url), "rows": rows},
        schema="node.vault-move",
        as_json=as_json,
        text=lambda: f"{rows} rows are in {url}; the file is gone",
    )
    next_step(f"twinward node doctor {folder}, then twinward node up {folder}")


COMMANDS = (vault_key, vault_move)
