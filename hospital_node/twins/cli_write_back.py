"""The option ``--fhir FILE`` of commands that ask a twin: the answer for the hospital's record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hospital_node.twins.cli_arguments import FILE
from twinward.console import say

if TYPE_CHECKING:
    from hospital_node.twins.answer import Answer
    from models.twin import Explanation
    from twinward.ids import RecordNumber

FHIR = click.option(
    "--fhir", type=FILE, help="Write it as a FHIR R4 Bundle for the hospital's own record."
)


def write_back_answer(
    path: Path | None, answer: Answer, *, folder: Path, record: RecordNumber
) -> None:
    """Write the answer to this file, if there is one; it names the patient and stays here."""
    if path is not None:
        from hospital_node.twins import write_back

        _write(path, write_back.of_answer(answer, **_about(folder, record)))


def write_back_explanation(
    path: Path | None, found: Explanation, *, folder: Path, record: RecordNumber, name: str
) -> None:
    """Write what is particular about the patient, likewise."""
    if path is not None:
        from hospital_node.twins import write_back
        from models import twins

        spec = twins.get(name).spec
        _write(path, write_back.of_explanation(found, spec=spec, **_about(folder, record)))


def _about(folder: Path, record: RecordNumber) -> dict[str, Any]:
    from uuid import uuid4

    from hospital_node.settings import FILE as SETTINGS
    from hospital_node.settings import NodeSettings
    from twinward.clock import SystemClock
    from twinward.settings import load

    org = load(NodeSettings, folder / SETTINGS).org
    return {"org": org, "record": record, "now": SystemClock().now(), "fresh": uuid4}


def _write(path: Path, bundle: dict[str, Any]) -> None:
    from twinward.files import write_atomic

    write_atomic(path, json.dumps(bundle, indent=1).encode() + b"\n", mode=0o600)
    say(f"FHIR: {path}; it names the patient, keep it in the hospital")
