"""Folders of diaries of virtual people with diabetes, for four hospitals; no patient is in them."""

from __future__ import annotations

from pathlib import Path

from hospital_node.twins import diary
from models.cardiac_risk.made_up import HOSPITALS
from models.glucose import virtual_diary
from twinward.files import write_atomic
from twinward.ids import OrgName


def write(folder: Path, *, people: int, days: int, seed: int = 1) -> dict[OrgName, Path]:
    """Write ``HOSPITAL/RECORD.csv`` for so many people of each hospital; same seed, same bytes.

    Dying half-way leaves some of the files; writing again completes them.
    """
    everyone = virtual_diary.examples(people=people * len(HOSPITALS), days=days, seed=seed)
    written = {}
    for place, hospital in enumerate(HOSPITALS):
        written[hospital.name] = folder / hospital.name
        written[hospital.name].mkdir(parents=True, exist_ok=True)
        for number, series in enumerate(everyone[place * people : (place + 1) * people], start=1):
            path = written[hospital.name] / f"{hospital.name}-{number:04d}.csv"
            write_atomic(path, diary.write(series).encode(), mode=0o600)
    return written
