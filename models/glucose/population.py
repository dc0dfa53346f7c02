"""The private prior of the glucose twin as something that a network trains, in one noised sum.

Each hospital fits its patients under the wide public prior and turns each into seven numbers of
bounded length (``prior.summary``); what leaves is their sum over all hospitals under noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.deployment import Deployment
from models.glucose import fit, personal, prior
from models.glucose.personal import CENTRE, PARAMETERS, SCALE, Diary
from models.glucose.twin import arrays, diary_of
from models.twin import Population, Series
from twinward.errors import TwinModelError
from twinward.ids import OrgName

Floats = NDArray[np.float64]

_COPIES = 100
_DAYS = 5
"""Of each patient the last days are fitted: more add little, and a run should not wait for them."""

_SEED = 20261121


class GlucosePrior:
    """Where the glucose twin of a new patient starts: seven numbers learnt from many."""

    name = "glucose_prior/1"
    kind = "prior"
    twin = "glucose/1"
    title = "Where glucose twins start"
    length = prior.LENGTH
    intended_use = (
        "Starting point of the glucose twin of a patient with little data of their own; research "
        "and teaching."
    )
    limits = (
        "Not a medical device, and no model of any patient: a mean over many.",
        "Measured on virtual people only, for whom it helps in the first days of a diary.",
        "Not learnt where patients times epsilon is below 24: noise would outweigh it.",
    )
    fewest = 24.0

    def spec(self, sites: Sequence[OrgName]) -> dict[str, Any]:
        """Every public constant, as JSON values."""
        del sites
        return {
            "length": prior.LENGTH,
            "centre": [float(each) for each in CENTRE],
            "scale": [float(each) for each in SCALE],
            "days": _DAYS,
        }

    def names(self, sites: Sequence[OrgName]) -> tuple[str, ...]:
        """The seven parameters, in order."""
        del sites
        return PARAMETERS

    def start(self, spec: Mapping[str, Any]) -> Floats:
        """The public centre."""
        del spec
        return np.zeros(len(PARAMETERS))

    def vectors(self, histories: Sequence[Series]) -> Floats:
        """Seven numbers of each patient; zeros for one whose diary cannot be fitted."""
        found = np.zeros((len(histories), len(PARAMETERS)))
        diaries = [_fitting(history) for history in histories]
        rows = [row for row, diary in enumerate(diaries) if diary is not None]
        if rows:
            known = _together([diary for diary in diaries if diary is not None])
            copies = fit.individualise(
                prior.WIDE, known, generator=np.random.default_rng(_SEED), copies=_COPIES
            )
            found[rows] = prior.summary(copies)
        return found

    def population(self, weights: Floats, *, noise_variance: float, divisor: int) -> Population:
        """The private prior as a twin's population."""
        del divisor
        return arrays(prior.learnt(weights, noise_variance=noise_variance))

    def deployed(self, released: Population | None, histories: Sequence[Series]) -> Deployment:
        """As released: a prior holds a patient back less, the more is known of the patient."""
        del histories
        if released is None:
            return Deployment(arrays(prior.TIGHT), False, ("the public prior is used",), {})
        return Deployment(released, True, ("used as released",), {})


def _fitting(history: Series) -> Diary | None:
    try:
        return diary_of(history)
    except TwinModelError:
        return None


def _together(diaries: Sequence[Diary]) -> Diary:
    """The last days of several patients as one diary; what is missing at the end was not seen."""
    steps = personal.steps_of(_DAYS * 1440)

    def rows(columns: Sequence[Floats], empty: float) -> Floats:
        return np.stack(
            [
                np.pad(column[-steps:], (0, steps - column[-steps:].size), constant_values=empty)
                for column in columns
            ]
        )

    return Diary(
        glucose=rows([each.glucose for each in diaries], np.nan),
        carbs=rows([each.carbs for each in diaries], 0.0),
        bolus=rows([each.bolus for each in diaries], 0.0),
        daily_insulin=np.array([float(each.daily_insulin) for each in diaries]),
    )
