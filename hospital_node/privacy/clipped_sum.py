"""Sum of clipped patient gradients: what one patient can change is bounded, whatever they hold.

Unit is the patient: the gradient of the *mean* loss over all own records, clipped once. The sum
is never divided by a number of patients, because that number is nobody's business.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.cardiac_risk.risk import sigmoid
from twinward.errors import BudgetError

Floats = NDArray[np.float64]

SLACK = 2.0**-20
"""Clipping aims this much below the norm, so that rounding never carries a sum over it."""

MOST_PATIENTS = 2**15
"""Beyond this, float64 rounding of a sum could use up the slack: 2 n^2 2^-53 < 2^-20."""


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

    def __call__(self, weights: Floats, include: NDArray[np.bool_]) -> Floats:
        """The sum over the patients whose mask is true; float64, one number per weight."""
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

    Raises:
        BudgetError: TW4010, shapes or owners do not fit together; TW4011, too many patients.
    """

    def __init__(
        self, x: Floats, y: Floats, *, max_grad_norm: float, owner: NDArray[np.intp] | None = None
    ) -> None:
        owners = np.arange(len(x)) if owner is None else np.asarray(owner)
        _require_shapes(x, y, owners)
        self.patients = int(owners.max(initial=-1)) + 1
        self.sensitivity = float(max_grad_norm)
        if self.patients > MOST_PATIENTS:
            raise BudgetError(
                f"more than {MOST_PATIENTS} patients in one sum",
                code="TW4011",
                help="split the cohort; the sensitivity of a larger float64 sum is not proven",
            )
        self._bound = max_grad_norm * (1 - SLACK)
        # A faulty patient becomes an empty one here, before any arithmetic: 0 times NaN is NaN.
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.sqrt(np.einsum("nd,nd->n", x, x))
        faulty = ~np.isfinite(norms) | ~np.isin(y, (0.0, 1.0))
        bad = np.zeros(self.patients, dtype=bool)
        bad[owners[faulty]] = True
        empty = bad[owners] if self.patients else faulty
        self._x = np.where(empty[:, None], 0.0, x)
        self._y = np.where(empty, 0.0, y)
        self._norms = np.where(empty, 0.0, norms)
        counts = np.bincount(owners, minlength=self.patients)
        self._owners = None if (counts == 1).all() and _in_order(owners) else owners
        self._share = 1.0 / np.maximum(counts, 1)[owners] if self.patients else np.zeros(0)

    def __call__(self, weights: Floats, include: NDArray[np.bool_]) -> Floats:
        """The sum over included patients; see ``ClippedSum``.

        Raises:
            BudgetError: TW4010, the mask has another length than there are patients; TW4012, the
                weights are not finite (they come from a sum that should have been refused).
        """
        if include.shape != (self.patients,) or include.dtype != np.bool_:
            raise _misfit("the mask has not one boolean per patient")
        if weights.shape != self._x.shape[1:]:
            raise _misfit("there is not one weight per input")
        if not np.isfinite(weights).all():
            raise BudgetError(
                "the weights are not finite",
                code="TW4012",
                help="end the run; a sum out of range must have been applied",
            )
        with np.errstate(over="ignore", invalid="ignore"):
            residual = sigmoid(self._x @ weights) - self._y
            if self._owners is None:
                clipped = residual * include * self._factor(np.abs(residual) * self._norms)
                return np.where(np.isfinite(clipped), clipped, 0.0) @ self._x
            gradients = np.zeros((self.patients, weights.size))
            np.add.at(gradients, self._owners, (residual * self._share)[:, None] * self._x)
            factor = include * self._factor(np.sqrt(np.einsum("pd,pd->p", gradients, gradients)))
            clipped = factor[:, None] * gradients
            usable = np.isfinite(clipped).all(axis=1, keepdims=True)
            total: Floats = np.where(usable, clipped, 0.0).sum(axis=0)
            return total

    def _factor(self, norms: Floats) -> Floats:
        """What to multiply a gradient of this norm by; NaN where the norm is."""
        return self._bound / np.maximum(norms, self._bound)


def _in_order(owners: NDArray[np.intp]) -> bool:
    return bool((owners == np.arange(owners.size)).all())


def _require_shapes(x: Floats, y: Floats, owners: NDArray[np.intp]) -> None:
    if x.ndim != 2 or y.shape != x.shape[:1] or owners.shape != x.shape[:1]:
        raise _misfit("records, labels and owners differ in number")
    if owners.size and (owners.dtype.kind not in "iu" or owners.min() < 0):
        raise _misfit("owners are not indices of patients")


def _misfit(why: str) -> BudgetError:
    return BudgetError(
        f"the clipped sum cannot be taken: {why}",
        code="TW4010",
        help="this is a fault of the caller, nothing was computed; report it",
    )
