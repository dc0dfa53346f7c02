"""What an ordinary forecaster says of another dose: the reason why such models are not asked.

Ridge regression on one diary, an hour ahead: good at what comes next, because doses go with meals
and meals with rising glucose. The same correlation, asked what a smaller dose would do, can answer
that it would be lower. Nothing leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.glucose.personal import STEP
from models.glucose.twin import diary_of
from models.twin import Series

Floats = NDArray[np.float64]

AHEAD = 60
"""Minutes until what is forecast."""

KNOWS = {"sensor and pump": ("bolus",), "sensor, pump and food": ("bolus", "carbs")}
"""Most forecasters on pumps know no food."""

_COARSE = 3
_LAGS = 12
_HELD = 10.0


@dataclass(frozen=True, slots=True)
class Said:
    """What one forecaster says.

    Attributes:
        knows: Its inputs.
        error_over_persistence: On the last third of the diary, learnt from the rest.
        change: Of glucose an hour ahead under each amount added to the dose, mg/dL.
        wrong_way: More insulin raises glucose, or less lowers it.
    """

    knows: str
    error_over_persistence: float
    change: tuple[float, ...]
    wrong_way: bool


def ask(history: Series, amounts: tuple[float, ...]) -> list[Said]:
    """Each forecaster, learnt from this diary, on a dose that is larger by each amount, units.

    Raises:
        TwinModelError: TW7112, TW7113, the diary is no use.
    """
    diary = diary_of(history)
    columns = {"bolus": diary.bolus, "carbs": diary.carbs}
    size = diary.glucose.size // _COARSE * _COARSE
    glucose = diary.glucose[-size:].reshape(-1, _COARSE).mean(axis=1)
    coarse = {name: each[-size:].reshape(-1, _COARSE).sum(axis=1) for name, each in columns.items()}
    answers = []
    for knows, names in KNOWS.items():
        rows, change = _rows(glucose, [coarse[name] for name in names])
        part = len(rows) * 2 // 3
        ahead = AHEAD // (STEP * _COARSE)
        judged = _fit(rows[: part - ahead], change[: part - ahead])
        left = change[part:] - rows[part:] @ judged
        # The dose of this moment is the first number after the readings.
        per_unit = float(_fit(rows, change)[1 + _LAGS])
        moved = tuple(per_unit * amount for amount in amounts)
        answers.append(
            Said(
                knows,
                float(np.sqrt(np.mean(left**2) / np.mean(change[part:] ** 2))),
                moved,
                per_unit > 0,
            )
        )
    return answers


def _rows(glucose: Floats, inputs: list[Floats]) -> tuple[Floats, Floats]:
    """A row per quarter of an hour: three hours of readings, inputs now and in the hours before."""
    ahead = AHEAD // (STEP * _COARSE)
    rows, change = [], []
    for now in range(2 * _LAGS, glucose.size - ahead):
        row = [1.0, *glucose[now - _LAGS + 1 : now + 1]]
        for column in inputs:
            row += [column[now], column[now - 1], column[now - 2], column[now - 3]]
            row += [column[now - end - 4 : now - end].sum() for end in (3, 7, 11)]
        rows.append(row)
        change.append(glucose[now + ahead] - glucose[now])
    known = np.isfinite(np.array(rows)).all(axis=1) & np.isfinite(np.array(change))
    return np.array(rows)[known], np.array(change)[known]


def _fit(rows: Floats, change: Floats) -> Floats:
    """Ridge weights in the rows' own units; the constant is held too, which costs nothing here."""
    size = rows.std(axis=0) + 1e-9
    size[0] = 1.0
    scaled = rows / size
    inner = scaled.T @ scaled + _HELD * np.eye(rows.shape[1])
    return np.asarray(np.linalg.solve(inner, scaled.T @ change) / size, dtype=np.float64)
