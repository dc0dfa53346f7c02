"""Made-up patients, for whoever has no real records: the same columns as the UCI archive.

Nothing here is derived from anyone's record. Patients are drawn from textbook statements alone:
risk rises with age, male sex, pressure, cholesterol and sugar; disease makes angina, ST changes,
abnormal scans and a lower exercise heart rate more frequent. The hospitals differ as real ones do:
who is sent there, and which examinations they make. Results on these patients say that the software
works and nothing about medicine. The same seed gives the same patients, everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.cardiac_risk.inputs import COLUMNS, LABEL
from twinward.ids import OrgName

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Hospital:
    """Who comes to a virtual hospital, and the share of patients without each examination."""

    name: OrgName
    patients: int
    age: float
    male: float
    referral: float
    """Log-odds by which its patients are sicker than those of the others."""
    unmeasured: Mapping[str, float]


HOSPITALS = (
    Hospital(OrgName("harbour"), 260, 56, 0.60, -0.2, {"ca": 0.05, "thal": 0.05, "slope": 0.05}),
    Hospital(OrgName("meadow"), 240, 51, 0.66, -0.7, {"ca": 0.9, "thal": 0.7, "slope": 0.5}),
    Hospital(
        OrgName("summit"), 130, 58, 0.75, 1.9, {"chol": 1.0, "fbs": 0.5, "ca": 0.8, "thal": 0.4}
    ),
    Hospital(
        OrgName("station"), 190, 61, 0.80, 0.6,
        {"chol": 0.2, "trestbps": 0.15, "oldpeak": 0.2, "slope": 0.4, "ca": 0.95, "thal": 0.8},
    ),
)  # fmt: skip

_THALLIUM = np.array([3.0, 6.0, 7.0])


def patients(hospital: Hospital, *, seed: int = 1) -> dict[str, Floats]:
    """All columns of a hospital's patients, NaN where an examination was not made."""
    dice = _Dice(f"{hospital.name}/{seed}")
    columns = _examined(hospital, dice)
    for name, share in hospital.unmeasured.items():
        columns[name] = np.where(dice.chance(share, hospital.patients), np.nan, columns[name])
    return columns


def reference() -> dict[str, Floats]:
    """The patients of all hospitals together: public, so a curve on them costs nobody anything."""
    tables = [patients(hospital) for hospital in HOSPITALS]
    names = (column.name for column in (*COLUMNS, LABEL))
    return {name: np.concatenate([table[name] for table in tables]) for name in names}


def _examined(hospital: Hospital, dice: _Dice) -> dict[str, Floats]:
    """All columns of all patients, as if everything had been measured."""
    n = hospital.patients
    age = np.clip(np.rint(hospital.age + 9 * dice.spread(n)), 25, 90)
    male = dice.chance(hospital.male, n).astype(float)
    pressure = np.clip(np.rint(132 + 0.4 * (age - 55) + 17 * dice.spread(n)), 85, 220)
    cholesterol = np.clip(np.rint(222 + 42 * dice.spread(n)), 110, 450)
    sugar = dice.chance(0.15, n).astype(float)
    odds = (
        hospital.referral + 0.06 * (age - 55) + 1.0 * (male - 0.6) + 0.012 * (pressure - 130)
        + 0.006 * (cholesterol - 220) + 0.5 * (sugar - 0.15)
    )  # fmt: skip
    ill = dice.chance(1 / (1 + np.exp(-odds)), n)
    peak = 0.87 * (220 - age) - 9 * ill + 19 * dice.spread(n)
    depression = np.where(ill, 1.1 + 1.0 * dice.spread(n), 0.5 + 0.7 * dice.spread(n))
    return {
        "age": age,
        "sex": male,
        "cp": 1.0 + dice.code(ill, (0.32, 0.25, 0.18, 0.25), (0.14, 0.25, 0.36, 0.25)),
        "trestbps": pressure,
        "chol": cholesterol,
        "fbs": sugar,
        "restecg": dice.code(ill, (0.58, 0.17, 0.25), (0.74, 0.08, 0.18)),
        "thalach": np.clip(np.rint(peak), 60, 210),
        "exang": dice.code(ill, (0.56, 0.44), (0.82, 0.18)),
        "oldpeak": np.round(np.clip(depression, 0, 6), 1),
        "slope": 1.0 + dice.code(ill, (0.42, 0.46, 0.12), (0.60, 0.34, 0.06)),
        "ca": dice.code(ill, (0.46, 0.27, 0.17, 0.10), (0.74, 0.16, 0.07, 0.03)),
        "thal": _THALLIUM[dice.code(ill, (0.42, 0.12, 0.46), (0.74, 0.06, 0.20)).astype(int)],
        "num": ill * (1.0 + dice.code(ill, (0.4, 0.25, 0.2, 0.15), (1.0, 0.0, 0.0, 0.0))),
    }


class _Dice:
    """Reproducible chance for made-up patients; never for noise."""

    def __init__(self, name: str) -> None:
        self._name = f"twinward/made-up/{name}"
        self._asked = 0

    def uniforms(self, count: int) -> Floats:
        """The next ``count`` numbers on [0, 1): SHAKE-256 of the name and how often was asked."""
        self._asked += 1
        stream = hashlib.shake_256(f"{self._name}/{self._asked}".encode()).digest(8 * count)
        words = np.frombuffer(stream, dtype="<u8")
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def chance(self, share: float | Floats, count: int) -> NDArray[np.bool_]:
        """True with this probability, for each of ``count``."""
        return self.uniforms(count) < share

    def spread(self, count: int) -> Floats:
        """About standard normal: twelve uniforms added up, which is enough for made-up people."""
        total: Floats = self.uniforms(12 * count).reshape(12, count).sum(axis=0)
        return np.subtract(total, 6.0)

    def code(self, ill: NDArray[np.bool_], yes: Sequence[float], no: Sequence[float]) -> Floats:
        """An index for each person: drawn with the shares ``yes`` of the ill, ``no`` of others."""
        edges = np.where(ill[:, None], np.cumsum(yes)[:-1], np.cumsum(no)[:-1])
        passed: Floats = (self.uniforms(ill.size)[:, None] >= edges).astype(np.float64)
        index: Floats = passed.sum(axis=1)
        return index
