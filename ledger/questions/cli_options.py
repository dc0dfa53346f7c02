"""Arguments and options that commands of ``twinward audit`` share, and what they do first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ledger.questions.workspace import Workspace

FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)

folder_argument = click.argument("folder", type=FOLDER)
documents_option = click.option(
    "--documents",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="More files or folders with studies, plans and evidence packs.",
)
ledger_option = click.option("--ledger", help="Another ledger node than the founding file's.")
offline_option = click.option("--offline", is_flag=True, help="Ask the copy as it is.")
patients_option = click.option(
    "--patients", is_flag=True, help="Put bodies about people in: record numbers, auditors' names."
)
now_option = click.option(
    "--now", is_flag=True, help="Of an audit log: as of now, not of its newest head on the ledger."
)


def up_to_date(space: Workspace, ledger: str | None, *, offline: bool) -> None:
    """Bring the copy of the ledger up to date, unless it is to be asked as it is."""
    if not offline:
        space.follow(ledger)
