"""The command ``twinward server doctor``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from twinward.console import json_option, reports_errors


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@json_option
@reports_errors
def doctor(*, folder: Path, as_json: bool) -> None:
    """Check machine, keys, ledger, ports and work of the coordinator in FOLDER; changes nothing.

    Works with the coordinator up or stopped. Ends with 0 if there is no fault, with 3 if there is
    one.
    """
    from server.doctor.checks import CHECKS
    from server.doctor.place import Place
    from twinward import flower_launch
    from twinward.doctor.findings import examine
    from twinward.doctor.table import report

    quiet = flower_launch.environment(folder / "state" / "superlink" / "flwr")
    os.environ |= {name: value for name, value in quiet.items() if name.startswith("FLWR_")}
    report(list(examine(Place(folder), CHECKS)), schema="server.doctor", as_json=as_json)
