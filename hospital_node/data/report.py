"""The report on imported records, as a page and as JSON: ``state/reports/data.html``.

Both are readable by the node's user alone and never sent anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hospital_node import policy_file
from hospital_node.data import imported, quality, version
from hospital_node.data.store import Kept, PatientStore
from hospital_node.paths import NodePaths
from hospital_node.settings import FILE, NodeSettings
from twinward.errors import UsageError
from twinward.files import write_atomic
from twinward.ids import org_name
from twinward.organisation import Organisation
from twinward.report import page
from twinward.settings import load

TEMPLATES = Path(__file__).parents[1] / "templates"
_SHOWN = 500
"""Defects of an import on the page; all are in the JSON."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was found, and where the two files lie."""

    found: Mapping[str, Any]
    page: Path
    json: Path


def write(folder: Path, store: PatientStore) -> Written:
    """Write the report on what is in the store, replacing the last one.

    Raises:
        OSError: The disk did not take it; the old report, if any, is whole.
    """
    settings = load(NodeSettings, folder / FILE) if (folder / FILE).is_file() else None
    imports = [
        (each, [defect for part in store.parts(each.number) for defect in part.defects])
        for each in store.imports()
    ]
    kept = store.patients()
    found = quality.summary(
        kept,
        imports=imports,
        minimum=_minimum(folder),
        version=_version(folder, kept),
    )
    org = folder.resolve().name if settings is None else settings.org
    paths = NodePaths(folder).reports / "data.html", NodePaths(folder).reports / "data.json"
    html = page.render("data_report.html", folder=TEMPLATES, org=org, shown=_SHOWN, **found)
    write_atomic(paths[1], json.dumps(found, sort_keys=True).encode(), mode=0o600)
    write_atomic(paths[0], html, mode=0o600)
    return Written(found, *paths)


def _minimum(folder: Path) -> int | None:
    """The site's smallest cohort; None while the policy is not there or is wrong."""
    try:
        return policy_file.read(folder).policy.minimum_cohort
    except UsageError:
        return None


def _version(folder: Path, kept: Sequence[Kept]) -> str | None:
    """The root over those who qualify; None without them or without an identity."""
    able = imported.qualifying(kept)
    if not able or not (Organisation(folder).secrets / "identity.key").exists():
        return None
    key = Organisation(folder).identity().derive(version.PURPOSE)
    return version.root(imported.table(able, hospital=org_name("here")), key=key).hex()
