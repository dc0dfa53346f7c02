"""A clipped sum in which each patient counts with no more of their data than they permit.

Most leave nothing out and stand in one sum, made once. Whoever leaves something out stands in a
second one, of what they left in, made again when a choice changes. A patient counts in one of the
two and never in both, so what one patient can change stays as bounded as it was.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hospital_node.privacy.clipped_sum import ClippedSum, Floats
from hospital_node.shares import ALL, Mask, Shares

Rows = NDArray[np.intp]


class SumByShare:
    """Made of a sum over everybody's whole records and a way to make one of what is left in.

    Args:
        whole: Over all patients, nothing left out.
        narrowed: Makes a sum over some rows under their shares, patients in that order.
    """

    def __init__(self, whole: ClippedSum, narrowed: Callable[[Rows, Shares], ClippedSum]) -> None:
        self.patients = whole.patients
        self.sensitivity = whole.sensitivity
        self._whole = whole
        self._make = narrowed
        self._narrowed: ClippedSum | None = None
        self._rows: Rows = np.empty(0, np.intp)
        self._shares: Shares = np.empty(0, np.uint8)
        self._leaves_nothing_out = np.ones(whole.patients, np.bool_)

    def follow(self, shares: Shares) -> None:
        """Read of each patient what their share says, from the next sum on.

        Called before each sum with the shares of the very moment of its mask.
        """
        self._leaves_nothing_out = shares <= ALL
        rows = np.flatnonzero(~self._leaves_nothing_out)
        if np.array_equal(rows, self._rows) and np.array_equal(shares[rows], self._shares):
            return
        # An error on the way leaves nobody in the second sum and those who narrowed out of both.
        self._narrowed = None
        self._rows, self._shares = np.empty(0, np.intp), np.empty(0, np.uint8)
        if len(rows):
            self._narrowed = self._make(rows, shares[rows])
            self._rows, self._shares = rows, shares[rows]

    def __call__(self, weights: Floats, include: Mask) -> Floats:
        """The sum over included patients; see ``ClippedSum``."""
        total = self._whole(weights, include & self._leaves_nothing_out)
        if self._narrowed is not None:
            total = total + self._narrowed(weights, include[self._rows])
        return total

    def forget(self, patient: int) -> None:
        """Overwrite a patient's records in both; see ``ClippedSum``."""
        self._whole.forget(patient)
        if self._narrowed is not None and patient in self._rows:
            self._narrowed.forget(int(np.searchsorted(self._rows, patient)))
