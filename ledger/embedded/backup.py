"""Backups of a node's database while it runs, and their way back."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from ledger.embedded.check import Found, check, reading
from ledger.embedded.store import damaged
from twinward.errors import LedgerError, UsageError
from twinward.files import sync_folder

DATABASE = "chain.sqlite"


def backup(folder: Path, target: Path) -> int:
    """Write one moment of a node's database to a file of its own; returns its newest block.

    The node may run and goes on making blocks. The file is complete and on disk on return, or not
    there: it is written beside its name and renamed.

    Raises:
        UsageError: TW3572, there is no ledger here, or the target is there already.
        LedgerError: TW5013, the database is damaged.
    """
    source = folder / DATABASE
    _require(source.is_file(), "there is no ledger here", source)
    _require(not target.exists(), "there is a file of this name already", target)
    with closing(reading(source)) as db:
        return _copy(db, target, source=source)


def restore(copy: Path, folder: Path) -> Found:
    """Put a backup where a node will run, after a check of every row in it.

    Raises:
        UsageError: TW3572, there is no such file, or there is a ledger here already.
        LedgerError: TW3573, the backup is not sound; nothing was put there.
    """
    target = folder / DATABASE
    _require(copy.is_file(), "there is no such backup", copy)
    _require(not target.exists(), "there is a ledger here already", target)
    found = check(copy)
    if found.faults:
        fault = found.faults[0]
        raise LedgerError(
            f"the backup is not sound: {fault.table} {fault.row}: {fault.what}",
            code="TW3573",
            at=str(copy),
            note=f"{fault.code}; {len(found.faults)} faults",
            help="take another backup, or copy the ledger of a hospital that follows it",
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    restore_unchecked(copy, folder)
    return found


def restore_unchecked(copy: Path, folder: Path) -> None:
    """Put one moment of a database into a folder where no ledger is yet, and look at no row.

    Raises:
        UsageError: TW3572, there is no such file. LedgerError: TW5013, it is no database.
    """
    _require(copy.is_file(), "there is no such backup", copy)
    try:
        with closing(reading(copy)) as db:
            _copy(db, folder / DATABASE, source=copy)
    except sqlite3.DatabaseError as error:
        raise damaged(copy, error) from error


def _copy(db: sqlite3.Connection, target: Path, *, source: Path) -> int:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with closing(sqlite3.connect(temporary, isolation_level=None)) as copy:
            db.backup(copy)  # in one step: one moment, however much the node writes meanwhile
            copy.execute("pragma journal_mode = delete")  # the one file is all of it
            (block,) = copy.execute("select max(number) from blocks").fetchone()
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.rename(target)
    except sqlite3.DatabaseError as error:
        raise damaged(source, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(target.parent)
    return int(block)


def _require(condition: bool, message: str, path: Path) -> None:  # noqa: FBT001 - reads like `assert`
    if not condition:
        raise UsageError(
            message,
            code="TW3572",
            at=str(path),
            help="give the folder that the node runs on, and a new name for what is written",
        )
