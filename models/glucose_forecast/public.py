"""The start from no patient at all: fitted to virtual people and shipped as numbers.

``python -m models.glucose_forecast.public`` makes the file again; a test holds the two equal.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.glucose import virtual_diary, virtual_patient
from models.glucose.personal import STEP as DIARY_STEP
from models.glucose_forecast.layers import Start, solved
from models.glucose_forecast.rows import Rows, rows_of, together
from models.twin import Series

Floats = NDArray[np.float64]

_FILE = "public_start.json"
_DIGITS = 6


def start() -> Start:
    """The public start, from the file."""
    text = resources.files("models.glucose_forecast").joinpath(_FILE).read_text("utf-8")
    values = {name: np.array(rows, dtype=np.float64) for name, rows in json.loads(text).items()}
    return Start(**values)


def made(*, seed: int = 20261121, days: int = 8) -> Start:
    """The same, from virtual people: the 30 published ones and a sibling of each."""
    known = together(_lives(seed, days)).known()
    inner = known.features.T @ known.features
    ridge = len(known) * 1e-3 * np.eye(inner.shape[0])
    weights = solved(inner + ridge, known.features.T @ known.change)
    left = known.change - known.features @ weights
    unit: Floats = np.sqrt(np.mean(left**2, axis=0))
    return Start(weights, inner / len(known), unit)


def _lives(seed: int, days: int) -> list[Rows]:
    generator = np.random.default_rng(seed)
    everyone = virtual_patient.population()
    rows = np.repeat(np.arange(len(everyone)), 2)
    people, ratio = virtual_diary.siblings(
        everyone.chosen(rows),
        everyone.parameters["carbohydrate_ratio"][rows],
        generator=generator,
    )
    ratio = virtual_diary.titrated(people, ratio, generator=generator)
    diary, _ = virtual_diary.diaries(people, ratio, days=days, event_days=0, generator=generator)
    minutes = np.arange(diary.glucose.shape[1], dtype=np.float64) * DIARY_STEP
    return [rows_of(Series(minutes, {"glucose": glucose})) for glucose in diary.glucose]


if __name__ == "__main__":
    found = made()
    names = ("weights", "moments", "unit")
    body = {name: np.round(getattr(found, name), _DIGITS).tolist() for name in names}
    Path(__file__).with_name(_FILE).write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
