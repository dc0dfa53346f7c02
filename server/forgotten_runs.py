"""Runs that the ledger knows and this folder does not: ordered after the backup it was made from.

Each may have said something of its patients, so later cards name it. Its price is what hospitals
reserved for it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

from consent.study import KIND as STUDY_KIND
from ledger.questions import runs
from ledger.questions.workspace import Workspace
from server.paths import ServerPaths
from twinward import gdp
from twinward.clock import iso
from twinward.errors import EvidenceError
from twinward.ids import RunId
from twinward.logging import log
from twinward.plan import evaluation_run
from twinward.signing import Document

_DELTA: Final = 1e-5
"""At which the epsilon of a price is told; the ledger has mu squared."""


def read(folder: Path) -> list[dict[str, Any]]:
    """What later cards say of them, as ``publish.earlier_runs`` does of others.

    Follows the ledger first, into the copy of its events that checkpoints are made from: nobody
    else may have that open.

    Args:
        folder: The coordinator's.

    Raises:
        LedgerError: TW5001, TW3701 to TW3704, the ledger cannot be read.
    """
    paths = ServerPaths(folder)
    workspace = Workspace(folder, state=paths.checkpoints)
    try:
        workspace.follow()
    except EvidenceError as error:  # checkpoints are not signed then, and say so
        log().warning("the ledger contradicts a checkpoint", code=error.code)
    with workspace.sources() as sources:
        reserved = sources.history.events(kind="Provenance.Reserved")
        known = {event.raw("run") for event in reserved}
        measured = {evaluation_run(run) for run in known}
        unordered = {run for run in known if run not in measured and not _is_ordered(paths, run)}
        if not unordered:
            return []
        found = {run.id: run for run in runs.runs(sources.history)}
    names = _studies(folder)
    for run in unordered:
        log().warning("a run that the ledger alone knows", run=run.hex())
    return [
        _said(run, found.get(evaluation_run(run.id)), names)
        for run in found.values()
        if run.id in unordered
    ]


def _is_ordered(paths: ServerPaths, run: bytes) -> bool:
    return paths.order(RunId(run.hex())).exists()


def _said(run: runs.Run, measured: runs.Run | None, names: dict[bytes, str]) -> dict[str, Any]:
    reserved = min(share.reserved.time for share in run.shares)
    return {
        "run": run.id.hex(),
        "study": names.get(run.study or b"", "a study that is not known here"),
        "issued_at": iso(reserved),
        "epsilon": _epsilon(run),
        "delta": _DELTA,
        "evaluation_epsilon": None if measured is None else _epsilon(measured),
        "released": run.model is not None,
        "by_ledger": True,
    }


def _epsilon(run: runs.Run) -> float:
    """What the dearest share of it says of a patient, rounded up."""
    dearest = max(share.micro_mu2 for share in run.shares)
    return math.ceil(1e4 * gdp.epsilon_of(math.sqrt(dearest / 1e6), _DELTA)) / 1e4


def _studies(folder: Path) -> dict[bytes, str]:
    """Names of the studies that lie here, by digest of their document."""
    files = sorted((folder / "studies").glob("*/study.json"))
    return {
        Document.decode(path.read_bytes(), kind=STUDY_KIND, at=str(path)).digest: path.parent.name
        for path in files
    }
