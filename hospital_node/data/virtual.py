"""Four virtual hospitals as files in the format of real ones; see ``cardiac_risk.made_up``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.cardiac_risk.inputs import COLUMNS, LABEL
from models.cardiac_risk.made_up import HOSPITALS, Hospital, patients
from twinward.files import write_atomic
from twinward.ids import OrgName


def write(folder: Path, *, seed: int = 1) -> dict[OrgName, Path]:
    """Write ``processed.HOSPITAL.data`` for the four hospitals; the same seed, the same bytes.

    Dying half-way leaves some of the files; writing again completes them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for hospital in HOSPITALS:
        written[hospital.name] = folder / f"processed.{hospital.name}.data"
        write_atomic(written[hospital.name], _file(hospital, seed).encode("ascii"))
    return written


def _file(hospital: Hospital, seed: int) -> str:
    columns = patients(hospital, seed=seed)
    rows = zip(*(columns[column.name] for column in (*COLUMNS, LABEL)), strict=True)
    return "".join(",".join(_cell(value) for value in row) + "\n" for row in rows)


def _cell(value: float) -> str:
    return "?" if np.isnan(value) else f"{value:g}"
