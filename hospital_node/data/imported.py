"""The records that a hospital brought in, as the table that its node works on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from hospital_node.data.contract import ALL
from hospital_node.data.recordings import LABELS, unpacked
from hospital_node.data.store import Kept, PatientStore, other_key
from hospital_node.data.table import Patients
from hospital_node.paths import PATIENTS, NodePaths
from hospital_node.sealing import site_key
from models.cardiac_ecg.risk import RECORDING
from models.cardiac_risk.inputs import LABEL
from twinward.errors import DataError
from twinward.ids import OrgName


def open_store(folder: Path, *, alone: bool = False) -> PatientStore:
    """The imported records in a node's folder; made, with its key, if there are none.

    Raises:
        BudgetError: TW4106, TW4107, the file cannot be used.
        DataError: TW7203, its key is lost, or another.
    """
    paths = NodePaths(folder)
    path = paths.patients
    key = site_key(paths.patients_key, of=path, lost=other_key)
    return PatientStore(path, key=key, alone=alone)


def is_store(path: Path) -> bool:
    """Whether ``data`` in ``node.toml`` names the imported records of a node's folder."""
    return path.name == PATIENTS


def read(path: Path, *, hospital: OrgName) -> Patients:
    """The imported patients who qualify: every required field is there, the label always.

    Args:
        path: ``state/patients.sqlite`` in the node's folder.
        hospital: Whose.

    Raises:
        DataError: TW7205 nobody qualifies or nothing was imported, TW7206 the last import is not
            finished, TW7203, TW7204.
        BudgetError: TW4106, TW4107.
    """
    if not path.is_file():
        raise _nobody(path)
    with closing(open_store(path.parent.parent)) as store:
        imports = store.imports()
        if imports and not imports[-1].done:
            raise DataError(
                "the last import of records is not finished",
                code="TW7206",
                at=str(path),
                help="give the same `twinward data import` again; it goes on where it ended",
            )
        kept = qualifying(store.patients())
    if not kept:
        raise _nobody(path)
    return table(kept, hospital=hospital)


def qualifying(kept: Sequence[Kept]) -> list[Kept]:
    """Those who can be trained on."""
    return [one for one in kept if one.qualifies and (one.signal or LABEL.name in one.values)]


def table(kept: Sequence[Kept], *, hospital: OrgName) -> Patients:
    """Imported patients as the table that a node works on, in their order.

    Raises:
        DataError: TW7208, some have recordings and others do not.
    """
    with_signal = sum(bool(each.signal) for each in kept)
    if 0 < with_signal < len(kept):
        raise _mixed()
    if with_signal:
        return _recorded(kept, hospital=hospital)
    values = np.array([[each.values.get(c.name, np.nan) for c in ALL] for each in kept])
    values.setflags(write=False)
    return Patients(
        hospital=hospital,
        records=tuple(each.record for each in kept),
        columns={column.name: values[:, place] for place, column in enumerate(ALL)},
        repeated=0,
    )


def _recorded(kept: Sequence[Kept], *, hospital: OrgName) -> Patients:
    columns = {RECORDING: np.stack([unpacked(each.signal) for each in kept])}
    for name in LABELS:
        columns[name] = np.array([each.values.get(name, np.nan) for each in kept])
    for column in columns.values():
        column.setflags(write=False)
    records = tuple(each.record for each in kept)
    return Patients(hospital=hospital, records=records, columns=columns, repeated=0)


def _mixed() -> DataError:
    return DataError(
        "some of the imported patients have recordings and others have a record of a table",
        code="TW7208",
        help="keep recordings in a node's folder of their own; a node trains on one kind",
    )


def _nobody(path: Path) -> DataError:
    return DataError(
        "no imported patient qualifies",
        code="TW7205",
        at=str(path),
        help="bring records in with `twinward data import`, then see `twinward data report`",
    )
