"""What a hospital has of its patients: a table of records, recordings, or diaries."""

from __future__ import annotations

from pathlib import Path

from hospital_node.data import diaries, ecg, imported, uci
from hospital_node.data.diaries import Diaries
from hospital_node.data.table import Patients
from twinward.errors import DataError
from twinward.ids import OrgName

Records = Patients | Diaries


def read(path: Path, *, hospital: OrgName) -> Records:
    """All patients of a file in the UCI format, of a folder, or imported ones.

    A folder holds recordings if it has their table (``ecg.DATABASE``), and diaries otherwise.

    Args:
        path: The file or folder; ``state/patients.sqlite`` in a node's folder for the imported.
        hospital: Whose.

    Raises:
        DataError: As ``uci.read``, ``ecg.read``, ``diaries.read`` or ``imported.read``.
    """
    if imported.is_store(path):
        return imported.read(path, hospital=hospital)
    if (path / ecg.DATABASE).is_file():
        return ecg.read(path, hospital=hospital)
    if path.is_dir():
        return diaries.read(path, hospital=hospital)
    return uci.read(path, hospital=hospital)


def table(records: Records) -> Patients:
    """The table of records, for models that are trained on one.

    Raises:
        DataError: TW7137, this hospital has diaries.
    """
    if isinstance(records, Patients):
        return records
    raise _other("diaries", "a table of records")


def histories(records: Records) -> Diaries:
    """The diaries, for models that are trained on histories.

    Raises:
        DataError: TW7137, this hospital has a table of records.
    """
    if isinstance(records, Diaries):
        return records
    raise _other("a table of records", "diaries")


def _other(has: str, needs: str) -> DataError:
    return DataError(
        f"this hospital has {has}; the plan is trained on {needs}",
        code="TW7137",
        at="node.toml: data",
        help="the hospital sits this study out; nothing was charged",
    )
