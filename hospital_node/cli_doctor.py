"""The command ``twinward node doctor``."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from pathlib import Path

import click

from twinward.console import json_option, reports_errors
from twinward.errors import TwinwardError

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))


@click.command()
@FOLDER
@json_option
@reports_errors
def doctor(*, folder: Path, as_json: bool) -> None:
    """Check machine, keys, network, ledger and records of the node in FOLDER; changes nothing.

    Works with the node up or stopped. Ends with 0 if there is no fault, with 3 if there is one.
    """
    from hospital_node import forwarder_command
    from hospital_node.doctor.checks import CHECKS
    from hospital_node.doctor.site import Site
    from twinward import flower_launch
    from twinward.doctor.findings import examine
    from twinward.doctor.table import report

    site = Site(folder)
    quiet = flower_launch.environment(folder / "state" / "supernode" / "flwr")
    os.environ |= {name: value for name, value in quiet.items() if name.startswith("FLWR_")}
    with ExitStack() as stack:
        with suppress(TwinwardError):  # whatever it is, a check finds it too
            stack.enter_context(forwarder_command.of_member(folder, probe=False))
        found = list(examine(site, CHECKS))
    report(found, schema="node.doctor", as_json=as_json)
