"""``twinward ledger``: keep a ledger node's database safe, and prove a split history."""

from __future__ import annotations

from pathlib import Path

import click

from twinward.console import emit, json_option, reports_errors

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def ledger() -> None:
    """Check, back up and restore a ledger node; compare what hospitals were shown."""


@ledger.command()
@click.argument("place", type=click.Path(path_type=Path, exists=True))
@json_option
@reports_errors
def check(*, place: Path, as_json: bool) -> None:
    """Re-derive every row of the ledger in PLACE: a node's folder, running or not, or a backup.

    Compare the head it prints with a block that somebody signed.
    """
    from ledger.embedded import check as scan
    from ledger.embedded.backup import DATABASE
    from twinward.errors import EvidenceError

    path = place / DATABASE if place.is_dir() else place
    found = scan.check(path)
    if found.faults:
        fault = found.faults[0]
        raise EvidenceError(
            f"the ledger's database is not sound: {fault.table} {fault.row}: {fault.what}",
            code=fault.code,
            at=str(path),
            note=f"{len(found.faults)} faults: "
            + "; ".join(f"{one.code} {one.table} {one.row}" for one in found.faults[:20]),
            help="restore a backup, or the copy of a hospital that follows",
        )
    number, block_hash = found.head or (0, b"")
    emit(
        {"rows": found.rows, "block": number, "hash": block_hash.hex()},
        schema="ledger.check",
        as_json=as_json,
        text=lambda: f"{found.rows} rows are as they must be\nblock {number} {block_hash.hex()}",
    )


@ledger.command()
@click.argument("folder", type=FOLDER)
@click.argument("target", type=FILE)
@json_option
@reports_errors
def backup(*, folder: Path, target: Path, as_json: bool) -> None:
    """Write the ledger in FOLDER to the file TARGET; its node may run meanwhile."""
    from ledger.embedded.backup import backup as write

    block = write(folder, target)
    emit(
        {"backup": str(target), "block": block},
        schema="ledger.backup",
        as_json=as_json,
        text=lambda: f"{target}: up to block {block}",
    )


@ledger.command()
@click.argument("copy", type=FILE)
@click.argument("folder", type=FOLDER)
@json_option
@reports_errors
def restore(*, copy: Path, folder: Path, as_json: bool) -> None:
    """Check every row of the backup COPY and put it into FOLDER, where no ledger is yet."""
    from ledger.embedded.backup import restore as put_back

    found = put_back(copy, folder)
    number, block_hash = found.head or (0, b"")
    emit(
        {"folder": str(folder), "rows": found.rows, "block": number, "hash": block_hash.hex()},
        schema="ledger.restore",
        as_json=as_json,
        text=lambda: f"{folder}: {found.rows} rows checked, up to block {number}",
    )


@ledger.command()
@click.argument("folder", type=FOLDER)
@click.option("--out", type=FILE, required=True, help="File for the token; must be new.")
@json_option
@reports_errors
def token(*, folder: Path, out: Path, as_json: bool) -> None:
    """Make a token that may read from the node in FOLDER, which may run, and write it to a file.

    For whoever is no member: an auditor puts it into secrets/ledger.token. Whoever has the file
    can read the ledger; take its line out of FOLDER/readers to end that.
    """
    from ledger.embedded.access import add_reader

    add_reader(folder, out=out)
    emit(
        {"token": str(out)},
        schema="ledger.token",
        as_json=as_json,
        text=lambda: f"{out}: hand it over so that nobody else sees it",
    )


@ledger.command()
@click.argument("mine", type=FILE)
@click.argument("theirs", type=FILE)
@click.option("--founding", type=FILE, required=True, help="Your copy of the founding file.")
@click.option("--out", type=FILE, required=True, help="Where the evidence goes, if there is any.")
@json_option
@reports_errors
def fork(*, mine: Path, theirs: Path, founding: Path, out: Path, as_json: bool) -> None:
    """Compare what two hospitals were shown; write evidence if somebody signed two histories.

    MINE and THEIRS come from `twinward node statements`.
    """
    from ledger.fork import Statements, evidence
    from twinward.files import read_given, write_atomic

    sides = [Statements.decode(read_given(path), at=str(path)) for path in (mine, theirs)]
    found = evidence(*sides, founding=read_given(founding))
    if found is not None:
        write_atomic(out, found)
    emit(
        {"fork": found is not None, "evidence": None if found is None else str(out)},
        schema="ledger.fork",
        as_json=as_json,
        text=lambda: (
            "one history, as far as both were shown the same blocks"
            if found is None
            else f"TWO HISTORIES were signed; anyone can check it: twinward verify {out}"
        ),
    )
