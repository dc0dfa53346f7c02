"""``twinward node backup``, ``backup-key``, ``backup-show`` and ``restore``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hospital_node.settings import FILE as SETTINGS
from hospital_node.settings import NodeSettings
from twinward import backup_options as options
from twinward.console import emit, json_option, next_step, reports_errors, say, table
from twinward.settings import load

if TYPE_CHECKING:
    from hospital_node.backup import Restored
    from twinward.errors import TwinwardError

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
FILE = click.argument("file", type=options.PATH)


@click.command()
@FOLDER
@FILE
@click.option("--keys", type=options.PATH, help="Write the keys here, under a lock of their own.")
@options.lock_options
@json_option
@reports_errors
def backup(
    *,
    folder: Path,
    file: Path,
    keys: Path | None,
    passphrase_file: Path | None,
    recipient: Path | None,
    keys_passphrase_file: Path | None,
    keys_recipient: Path | None,
    as_json: bool,
) -> None:
    """Back the node in FOLDER up to FILE, sealed; the node may be up and in a run.

    Without files or recipients, passphrases are lines of standard input: records, then keys.
    """
    from hospital_node import backup as nodes

    targets = options.targets(
        records=file,
        records_lock=(passphrase_file, recipient),
        keys=keys,
        keys_lock=(keys_passphrase_file, keys_recipient),
    )
    options.show_taken(nodes.back_up(folder, targets), role="node", as_json=as_json)
    if load(NodeSettings, folder / SETTINGS).vault_server is not None:
        say("the consents are in your PostgreSQL server and its backups only; here is their key")
    next_step(f"twinward node backup-show {file} --check")


@click.command()
@FILE
@FOLDER
@click.option("--keys", type=options.PATH, required=True, help="The file of keys.")
@click.option(
    "--erased", type=options.PATH,
    help="Newest copy of the node's `state/erased`: what it names is erased again.",
)  # fmt: skip
@options.opener_options
@json_option
@reports_errors
def restore(
    *,
    file: Path,
    folder: Path,
    keys: Path,
    erased: Path | None,
    passphrase_file: Path | None,
    private_key: Path | None,
    keys_passphrase_file: Path | None,
    keys_private_key: Path | None,
    as_json: bool,
) -> None:
    """Put the backup FILE back into FOLDER, which is new or empty, and compare it with the ledger.

    Every other copy of this node must be stopped for good.
    """
    from hospital_node import backup as nodes

    backups = options.sealed(
        records=file,
        records_key=(passphrase_file, private_key),
        keys=keys,
        keys_key=(keys_passphrase_file, keys_private_key),
    )
    found = nodes.restore(backups, folder, erased=erased)
    emit(
        {
            "folder": str(folder),
            "data": str(found.data),
            "data_is_here": found.is_data_here,
            "erased_again": found.erased_again,
            "compared": found.is_compared,
            "book": _code(found.book),
            "audit": _code(found.audit),
        },
        schema="node.restore",
        as_json=as_json,
        text=lambda: _in_words(found),
    )
    if found.book is not None:
        next_step(f"twinward node recover {folder}")
    else:
        next_step(f"twinward node doctor {folder}, then twinward node up {folder}")


def _code(error: TwinwardError | None) -> str | None:
    return None if error is None else error.code


def _in_words(found: Restored) -> str:
    rows = [
        ("records", str(found.data) if found.is_data_here else f"NOT HERE: {found.data}"),
        ("erased again", str(found.erased_again)),
    ]
    if not found.is_compared:
        rows.append(("ledger", "NOT COMPARED: it does not answer, or the node is in no network"))
    else:
        rows += [("privacy book", _standing(found.book)), ("audit log", _standing(found.audit))]
    rows.append(
        ("enter again", "own limits, objections and deaths, answers at the desk since the backup")
    )
    return table(("WHAT", "STATE"), rows)


def _standing(error: TwinwardError | None) -> str:
    return "as the ledger says" if error is None else f"[{error.code}] {error}"


COMMANDS = (
    backup,
    restore,
    options.backup_key(role="node"),
    options.backup_show(role="node"),
)
