"""``twinward server backup``, ``backup-key``, ``backup-show`` and ``restore``."""

from __future__ import annotations

from pathlib import Path

import click

from twinward import backup_options as options
from twinward.console import emit, json_option, next_step, reports_errors
from twinward.metrics_door import metrics_options

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
    """Back the coordinator in FOLDER up to FILE, its ledger included; it may be up and in a run.

    Without files or recipients, passphrases are lines of standard input: records, then keys.
    """
    from server import backup as coordinators

    targets = options.targets(
        records=file,
        records_lock=(passphrase_file, recipient),
        keys=keys,
        keys_lock=(keys_passphrase_file, keys_recipient),
    )
    options.show_taken(coordinators.back_up(folder, targets), role="server", as_json=as_json)
    next_step(f"twinward server backup-show {file} --check")


@click.command()
@FILE
@FOLDER
@click.option("--keys", type=options.PATH, required=True, help="The file of keys.")
@click.option(
    "--ledger", type=options.PATH,
    help="A backup of a hospital's ledger node, newer than the one in FILE.",
)  # fmt: skip
@options.opener_options
@json_option
@reports_errors
def restore(
    *,
    file: Path,
    folder: Path,
    keys: Path,
    ledger: Path | None,
    passphrase_file: Path | None,
    private_key: Path | None,
    keys_passphrase_file: Path | None,
    keys_private_key: Path | None,
    as_json: bool,
) -> None:
    """Put the backup FILE back into FOLDER, which is new or empty, with every row of its ledger."""
    from server import backup as coordinators

    backups = options.sealed(
        records=file,
        records_key=(passphrase_file, private_key),
        keys=keys,
        keys_key=(keys_passphrase_file, keys_private_key),
    )
    found = coordinators.restore(backups, folder, ledger=ledger)
    block = None if found is None else found.head and found.head[0]
    emit(
        {"folder": str(folder), "block": block},
        schema="server.restore",
        as_json=as_json,
        text=lambda: f"{folder}: newest block {block}, every row of the ledger as it was written",
    )
    next_step(f"twinward server up {folder}; hospitals that executed more blocks say so (TW3552)")


@click.command()
@FOLDER
@metrics_options
@reports_errors
def metrics(*, folder: Path, port: int, socket: Path | None) -> None:
    """Answer Prometheus about the coordinator in FOLDER until Ctrl-C, on this machine only.

    Off unless it is started.
    """
    from server.metrics import CoordinatorMetrics
    from twinward import metrics_door

    metrics_door.serve(CoordinatorMetrics(folder), folder=folder, port=port, socket=socket)


COMMANDS = (
    metrics,
    backup,
    restore,
    options.backup_key(role="server"),
    options.backup_show(role="server"),
)
