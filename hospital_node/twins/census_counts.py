"""A hospital's admissions as a clipped sum, ready for the product's own mechanism.

``CountsSum`` is a ``ClippedSum`` like a model's gradients, so that sampling, noise, grid, bounds
and price come from ``hospital_node.privacy.mechanism`` and from nowhere else. No plan of the
network carries it yet; ``models.census.counts`` says which plan would.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hospital_node.privacy.clipped_sum import Floats
from hospital_node.privacy.engines.patients import Mask, require_call
from models.census import counts


class CountsSum:
    """Counts of arrivals and stays over whoever permits it; one patient moves it by ``LENGTH``.

    Args:
        admissions: Of each patient: moments of coming, minutes since 1970, and days stayed.
    """

    def __init__(self, admissions: Sequence[tuple[Floats, Floats]]) -> None:
        rows = [counts.of_patient(came, stayed) for came, stayed in admissions]
        self._rows = np.array(rows).reshape(len(rows), counts.WIDTH)
        self.patients = len(rows)
        self.sensitivity = counts.LENGTH

    def __call__(self, weights: Floats, include: Mask) -> Floats:
        """The sum; weights are not looked at, there is one step only.

        Raises:
            BudgetError: TW4010, the mask has another length than there are patients.
        """
        require_call(weights, include, dimension=counts.WIDTH, patients=self.patients)
        total: Floats = include.astype(np.float64) @ self._rows
        return total
