"""The private step of the forecaster as something that a network trains, in one noised sum.

Each patient says in 28 numbers of bounded length how the public start errs on them
(``layers.gradient``); what leaves is their sum over all hospitals under noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.deployment import Deployment
from models.glucose_forecast import centre, layers, public
from models.glucose_forecast.rows import AHEAD, STEP, WIDTH, rows_of
from models.glucose_forecast.twin import arrays, start_of
from models.twin import Population, Series
from twinward.ids import OrgName

Floats = NDArray[np.float64]


class GlucoseForecastStep:
    """Where the forecaster of a new centre starts: one private step from the public start."""

    name = "glucose_forecast_step/1"
    kind = "prior"
    twin = "glucose-forecast/1"
    title = "Where glucose forecasters start"
    length = layers.LENGTH
    intended_use = (
        "Starting point of the glucose forecaster at a centre with few patients or few days; "
        "research and teaching."
    )
    limits = (
        "Not a medical device, and no model of any patient: a mean over many.",
        "Used at a centre only if it forecasts the centre's own past better than the public start.",
        "People with days of readings of their own gain nothing from it (measured).",
    )
    fewest = 24.0

    def spec(self, sites: Sequence[OrgName]) -> dict[str, Any]:
        """Every public constant, as JSON values; the start that gradients are taken at, too."""
        del sites
        start = public.start()
        return {
            "length": layers.LENGTH,
            "weights": start.weights.tolist(),
            "moments": start.moments.tolist(),
            "unit": start.unit.tolist(),
        }

    def names(self, sites: Sequence[OrgName]) -> tuple[str, ...]:
        """What each number belongs to, in whitened order."""
        del sites
        return tuple(
            f"whitened {row} at {ahead * STEP} min" for row in range(WIDTH) for ahead in AHEAD
        )

    def start(self, spec: Mapping[str, Any]) -> Floats:
        """No step."""
        del spec
        return np.zeros(WIDTH * len(AHEAD))

    def vectors(self, histories: Sequence[Series]) -> Floats:
        """What each patient says against the public start; zeros for one without readings."""
        start = public.start()
        return np.stack([layers.gradient(start, rows_of(history)) for history in histories])

    def population(self, weights: Floats, *, noise_variance: float, divisor: int) -> Population:
        """The start after the step."""
        del divisor
        return arrays(layers.stepped(public.start(), weights, noise_variance=noise_variance))

    def deployed(self, released: Population | None, histories: Sequence[Series]) -> Deployment:
        """Gated by this centre's own past, with the centre's own layer.

        Raises:
            TwinModelError: TW7186, too few patients; TW7139, the forecaster is no help here.
        """
        private = None if released is None else start_of(released)
        return centre.deployed(public.start(), private, histories)
