"""The forecaster of one centre: the private step if it helps here, the centre's own layer on top.

Judged as it would be used: layers of centre and person are made from the first part of each
patient's record, and what they say of the last part is compared with "it stays as it is". Where
that wins nothing is deployed. All of it stays at the hospital.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.deployment import Deployment
from models.glucose_forecast import layers
from models.glucose_forecast.layers import Start
from models.glucose_forecast.rows import AHEAD, STEP, Rows, rows_of
from models.glucose_forecast.twin import HALF_DAY, arrays
from models.twin import Series
from twinward.errors import TwinModelError

Floats = NDArray[np.float64]

FEWEST_PEOPLE = 3
_SHARE = 0.7


def deployed(public: Start, released: Start | None, histories: Sequence[Series]) -> Deployment:
    """The start of this centre's forecasters, with its own layer.

    Args:
        public: The start that needs no patient.
        released: After the private step; None if nothing was taken over.
        histories: Of this centre's patients.

    Raises:
        TwinModelError: TW7186, fewer than three patients with half a day of readings; TW7139, on
            their own past `it stays as it is` was the better forecast.
    """
    patients = [known for known in map(_known, histories) if len(known) >= HALF_DAY]
    if len(patients) < FEWEST_PEOPLE:
        raise TwinModelError(
            "too few patients here to judge a forecaster for this centre",
            code="TW7186",
            note=f"{len(patients)} have half a day of readings",
            help=f"wait until {FEWEST_PEOPLE} have; until then the public start is used",
        )
    start, private = public, False
    if released is not None:
        start, private = layers.gated(public, released, patients)
    shares = _over_stays(start, patients)
    figures = {
        f"error_over_stays_{ahead * STEP}_min": round(float(share), 4)
        for ahead, share in zip(AHEAD, shares, strict=True)
    }
    said = ", ".join(
        f"{share:.2f} at {ahead * STEP} min" for ahead, share in zip(AHEAD, shares, strict=True)
    )
    if not (shares < 1).all():
        raise TwinModelError(
            "at this centre `it stays as it is` is the better forecast",
            code="TW7139",
            note=f"error over that of `it stays as it is`: {said}",
            help="do not use the forecaster here; look again when there is more data",
        )
    return Deployment(
        population=arrays(layers.of_centre(start, patients)),
        private=private,
        words=(
            _gate_in_words(private=private, released=released is not None),
            f"the centre's own layer is from {len(patients)} patients",
            f"error over that of `it stays as it is` on the last part of their past: {said}",
        ),
        figures={"people": len(patients), **figures},
    )


def _known(history: Series) -> Rows:
    return rows_of(history).known()


def _over_stays(start: Start, patients: Sequence[Rows]) -> Floats:
    """Error over that of no change at each time ahead, of all patients together."""
    parts = [layers.parted(rows, _SHARE) for rows in patients]
    centre = layers.of_centre(start, [before for before, _ in parts])
    wrong, moved = np.zeros((2, len(AHEAD)))
    for before, after in parts:
        if len(before) and len(after):
            own = layers.of_person(centre, before)
            wrong += np.sum((own.change(after) - after.change) ** 2, axis=0)
            moved += np.sum(after.change**2, axis=0)
    # Where nothing ever changes no forecast is better than none, and this one is not shown to be.
    shares: Floats = np.sqrt(np.divide(wrong, moved, out=np.full(len(AHEAD), 1.0), where=moved > 0))
    return shares


def _gate_in_words(*, private: bool, released: bool) -> str:
    if not released:
        return "no private step was taken over; the public start is used"
    if private:
        return "the private step forecasts this centre's past better than the public start: kept"
    return "the public start forecasts this centre's past better than the private step: not kept"
