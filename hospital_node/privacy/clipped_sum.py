"""Sum of clipped patient gradients: what one patient can change is bounded, whatever they hold.

Unit is the patient: the gradient of the *mean* loss over all own records, clipped once. The sum
is never divided by a number of patients, because that number is nobody's business.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hospital_node.privacy.engines.losses import LOGISTIC
from hospital_node.privacy.engines.patients import (
    MOST_PATIENTS,
    SLACK,
    Floats,
    Mask,
    Patients,
    aim,
    clipped_rows,
    misfit,
    require_call,
)

__all__ = ["MOST_PATIENTS", "SLACK", "ClippedSum", "Floats", "LogisticClippedSum"]


class ClippedSum(Protocol):
    """A function of weights whose result one patient moves by at most ``sensitivity``."""

    @property
    def patients(self) -> int:
        """How many patients the mask of a call is about."""
        ...

    @property
    def sensitivity(self) -> float:
        """Bound on the L2 distance of two sums that differ in one patient zeroed out or not."""
        ...

    def __call__(self, weights: Floats, include: Mask) -> Floats:
        """The sum over the patients whose mask is true; float64, one number per weight."""
        ...

    def forget(self, patient: int) -> None:
        """Overwrite all that is held of one patient, who counts as zero from then on."""
        ...


class LogisticClippedSum:
    """Clipped gradients of the logistic loss in closed form: no autograd, no per-patient loop.

    Args:
        x: Encoded records, [records, inputs].
        y: Labels 0 or 1 per record.
        owner: Index of the patient per record, 0 to P - 1; by default one record per patient.
        max_grad_norm: Norm C to which a patient's gradient is clipped.

    A patient with anything non-finite, or a label that is none, contributes zero to every sum.
    The result equals per-sample autograd with the patient as unit (a test compares with Opacus).

    The gradient of a record is (p - y) x with p = (1 + tanh(xw / 2)) / 2. With s = 1 - 2y, which is
    1 or -1, and z = s x / 2 that is (1 + tanh(zw)) z, label or no label: a number between 0 and 2
    times a fixed row. Clipping one record is then one minimum, and records are kept as z.

    Raises:
        BudgetError: TW4010, shapes or owners do not fit together; TW4011, too many patients.
    """

    def __init__(
        self, x: Floats, y: Floats, *, max_grad_norm: float, owner: NDArray[np.intp] | None = None
    ) -> None:
        if x.ndim != 2 or y.shape != x.shape[:1]:
            raise misfit("records and labels differ in number")
        members = Patients.of(len(x), owner)
        self.patients = members.count
        self.sensitivity = float(max_grad_norm)
        self._bound = aim(max_grad_norm)
        x, y = members.sort(x), members.sort(y)
        # A faulty patient becomes an empty one here, before any arithmetic: 0 times NaN is NaN.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            norms = np.sqrt(np.einsum("nd,nd->n", x, x))
            sound = members.sound(~np.isfinite(norms) | ~LOGISTIC.usable(y))
            empty = ~sound[members.owners]
            # No factor is above 2, so 2 clips nothing: infinity would make an excluded one NaN.
            self._limits = np.minimum(2.0, 2.0 * self._bound / np.where(empty, 0.0, norms))
        z = np.where(empty[:, None], 0.0, x * (0.5 - np.where(empty, 0.0, y))[:, None])
        # One column per record: both products below then run over long rows.
        self._z = np.ascontiguousarray(z.T)
        self._members = members

    def __call__(self, weights: Floats, include: Mask) -> Floats:
        """The sum over included patients; see ``ClippedSum``.

        Raises:
            BudgetError: TW4010, the mask has another length than there are patients; TW4012, the
                weights are not finite (they come from a sum that should have been refused).
        """
        require_call(weights, include, dimension=len(self._z), patients=self.patients)
        with np.errstate(over="ignore", invalid="ignore"):
            factors = weights @ self._z
            np.tanh(factors, out=factors)
            factors += 1.0
            if self._members.one_each:
                return self._of_single_records(factors, include)
            return self._of_many_records(factors, include)

    def forget(self, patient: int) -> None:
        """Overwrite a patient's records; see ``ClippedSum``."""
        rows = self._members.of_patient(patient)
        self._z[:, rows] = 0.0
        self._limits[rows] = 0.0

    def _of_single_records(self, factors: Floats, include: Mask) -> Floats:
        clipped = np.minimum(factors, self._limits * include, out=factors)
        total: Floats = self._z @ clipped
        if not np.isfinite(total).all():  # a record whose product with the weights is no number
            total = self._z @ np.where(np.isfinite(clipped), clipped, 0.0)
        return total

    def _of_many_records(self, factors: Floats, include: Mask) -> Floats:
        having = self._members.records > 0
        starts = self._members.offsets[:-1][having]
        weighted = (self._z * (factors * self._members.share())).T
        gradients = np.add.reduceat(weighted, starts, axis=0)
        return clipped_rows(gradients, include[having], bound=self._bound)
