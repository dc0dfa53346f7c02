"""What a hospital has of its patients: a table of records, recordings, diaries, or admissions."""

from __future__ import annotations

from pathlib import Path

from hospital_node.data import admissions, diaries, ecg, imported, uci
from hospital_node.data.diaries import Diaries
from hospital_node.data.table import Patients
from models import twins
from models.registry import PriorModel
from twinward.errors import DataError
from twinward.ids import OrgName

Records = Patients | Diaries


def read(path: Path, *, hospital: OrgName) -> Records:
    """All patients of a file, of a folder, or imported ones.

    A file is of admissions if its first line says so, and in the UCI format otherwise; a folder
    holds recordings if it has their table (``ecg.DATABASE``), and diaries otherwise.

    Args:
        path: The file or folder; ``state/patients.sqlite`` in a node's folder for the imported.
        hospital: Whose.

    Raises:
        DataError: As ``uci.read``, ``admissions.read``, ``ecg.read``, ``diaries.read`` or
            ``imported.read``.
    """
    if imported.is_store(path):
        return imported.read(path, hospital=hospital)
    if (path / ecg.DATABASE).is_file():
        return ecg.read(path, hospital=hospital)
    if path.is_dir():
        return diaries.read(path, hospital=hospital)
    if admissions.is_table(path):
        return admissions.read(path, hospital=hospital)
    return uci.read(path, hospital=hospital)


def table(records: Records) -> Patients:
    """The table of records, for models that are trained on one.

    Raises:
        DataError: TW7137, this hospital has histories.
    """
    if isinstance(records, Patients):
        return records
    raise _other("diaries or admissions", "a table of records")


def histories(records: Records, prior: PriorModel) -> Diaries:
    """The histories that this prior learns from.

    Whether they are of its kind is read off the names of their columns, and off no value.

    Raises:
        DataError: TW7137, this hospital has a table of records, or histories of something else.
    """
    inputs = {each.name for each in twins.get(prior.twin).spec.inputs}
    needed = f"histories for `{prior.twin}`"
    if not isinstance(records, Diaries):
        raise _other("a table of records", needed)
    if not any(inputs & each.values.keys() for each in records.histories):
        raise _other("histories of something else", needed)
    return records


def _other(has: str, needs: str) -> DataError:
    return DataError(
        f"this hospital has {has}; the plan is trained on {needs}",
        code="TW7137",
        at="node.toml: data",
        help="the hospital sits this study out; nothing was charged",
    )
