"""Folders of diaries of virtual people with diabetes, for four hospitals; no patient is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hospital_node.twins import diary
from models.baseline import made_up
from models.baseline.twin import VITALS
from models.cardiac_risk.made_up import HOSPITALS
from models.glucose import virtual_diary
from models.twin import Series
from twinward.files import write_atomic
from twinward.ids import OrgName


def write(
    folder: Path, *, people: int, days: int, seed: int = 1, vitals: bool = False
) -> dict[OrgName, Path]:
    """Write ``HOSPITAL/RECORD.csv`` for so many people of each hospital; same seed, same bytes.

    With ``vitals`` each diary holds hourly vital signs too. Dying half-way leaves some of the
    files; writing again completes them.
    """
    everyone = virtual_diary.examples(people=people * len(HOSPITALS), days=days, seed=seed)
    if vitals:
        region = made_up.region(VITALS, seed)
        everyone = [
            _with(series, made_up.patient(VITALS, region, days=days, seed=number))
            for number, series in enumerate(everyone)
        ]
    written = {}
    for place, hospital in enumerate(HOSPITALS):
        written[hospital.name] = folder / hospital.name
        written[hospital.name].mkdir(parents=True, exist_ok=True)
        for number, series in enumerate(everyone[place * people : (place + 1) * people], start=1):
            path = written[hospital.name] / f"{hospital.name}-{number:04d}.csv"
            write_atomic(path, diary.write(series).encode(), mode=0o600)
    return written


def _with(series: Series, more: Series) -> Series:
    """The same moments with these readings at those of them that they were made at."""
    at, rows = np.intersect1d(series.minutes, more.minutes, return_indices=True)[1:]
    columns = dict(series.values)
    for name, values in more.values.items():
        columns[name] = np.full(series.minutes.shape, np.nan)
        columns[name][at] = values[rows]
    return Series(series.minutes, columns)
