"""``twinward node upgrade-check``, ``support-bundle`` and ``metrics``."""

from __future__ import annotations

from pathlib import Path

import click

from twinward.console import emit, json_option, next_step, reports_errors, table
from twinward.errors import EXIT_CHECK
from twinward.metrics_door import metrics_options

FOLDER = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="upgrade-check")
@FOLDER
@json_option
@reports_errors
def upgrade_check(*, folder: Path, as_json: bool) -> None:
    """Say whether this release can take over the node in FOLDER; changes nothing.

    Ends with 3 if it cannot. Back up first: an older release does not open what a newer one wrote.
    """
    from hospital_node import upgrade
    from hospital_node.settings import FILE as SETTINGS
    from hospital_node.settings import NodeSettings
    from twinward import __version__
    from twinward.doctor.findings import Result
    from twinward.settings import load

    load(NodeSettings, folder / SETTINGS)
    forms, findings = upgrade.examine(folder)
    faults = [one for one in findings if one.result is Result.FAULT]
    newer = [one for one in forms if one.is_newer]
    rows = [
        (one.path, "in use" if one.found is None else str(one.found), str(one.known),
         "TOO NEW" if one.is_newer else "stop the node to look" if one.found is None
         else "as it is" if one.found == one.known else "brought forward at the next start")
        for one in forms
    ]  # fmt: skip
    rows += [(one.check, one.result.value, one.code or "", one.fix or "") for one in findings]
    emit(
        {
            "release": __version__,
            "forms": [{"path": o.path, "found": o.found, "known": o.known} for o in forms],
            "checks": [one.as_json() for one in findings],
            "can_take_over": not newer and not faults,
        },
        schema="node.upgrade-check",
        as_json=as_json,
        text=lambda: f"release {__version__}\n" + table(("WHAT", "FOUND", "KNOWN", "THEN"), rows),
    )
    if newer or faults:
        raise click.exceptions.Exit(EXIT_CHECK)
    next_step(f"twinward node backup {folder} FILE --keys KEYS, then twinward node up {folder}")


@click.command(name="support-bundle")
@FOLDER
@click.argument("file", type=FILE)
@click.option("--log", "logs", type=FILE, multiple=True, help="Another file of the node's log.")
@json_option
@reports_errors
def support_bundle(*, folder: Path, file: Path, logs: tuple[Path, ...], as_json: bool) -> None:
    """Write FILE, an archive for support without patients, keys or addresses; sends nothing."""
    from hospital_node import support

    names = support.bundle(folder, file, logs=logs)
    emit(
        {"file": str(file), "parts": names},
        schema="node.support-bundle",
        as_json=as_json,
        text=lambda: "\n".join([str(file), *(f"  {name}" for name in names)]),
    )
    next_step("look through it before you send it")


@click.command()
@FOLDER
@metrics_options
@reports_errors
def metrics(*, folder: Path, port: int, socket: Path | None) -> None:
    """Answer Prometheus about the node in FOLDER until Ctrl-C, on this machine only.

    Off unless it is started. No figure comes from patients.
    """
    from hospital_node.metrics import NodeMetrics
    from twinward import metrics_door

    metrics_door.serve(NodeMetrics(folder), folder=folder, port=port, socket=socket)


COMMANDS = (upgrade_check, support_bundle, metrics)
