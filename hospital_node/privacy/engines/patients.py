"""The patient as the unit: whose each record is, who counts as empty, how much of them is kept.

What every engine does alike stands here once, so that no engine can bound a patient differently.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinward.errors import BudgetError

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Mask = NDArray[np.bool_]

SLACK = 2.0**-20
"""Clipping aims this much below the norm, so that rounding never carries a sum over it."""

MOST_PATIENTS = 2**15
"""Beyond this, float64 rounding of a sum could use up the slack: 2 n^2 2^-53 < 2^-20."""


@dataclass(frozen=True, slots=True)
class Patients:
    """Records in the order of their patients: those of p are ``offsets[p]`` to ``offsets[p+1]``."""

    count: int
    offsets: Indices
    owners: Indices
    one_each: bool
    _order: Indices | None

    @classmethod
    def of(cls, records: int, owner: Indices | None) -> Patients:
        """Who owns which record; by default every record is a patient of its own.

        Raises:
            BudgetError: TW4010, owners are not one index per record; TW4011, too many patients.
        """
        owners = np.arange(records) if owner is None else np.asarray(owner)
        if owners.shape != (records,):
            raise misfit("records and owners differ in number")
        if records and (owners.dtype.kind not in "iu" or owners.min() < 0):
            raise misfit("owners are not indices of patients")
        count = int(owners.max(initial=-1)) + 1
        if count > MOST_PATIENTS:
            raise BudgetError(
                f"more than {MOST_PATIENTS} patients in one sum",
                code="TW4011",
                help="split the cohort; the sensitivity of a larger float64 sum is not proven",
            )
        per_patient = np.bincount(owners, minlength=count) if records else np.zeros(0, np.intp)
        order = None if (np.diff(owners) >= 0).all() else np.argsort(owners, kind="stable")
        return cls(
            count=count,
            offsets=np.concatenate([[0], np.cumsum(per_patient)]).astype(np.intp),
            owners=np.repeat(np.arange(count), per_patient),
            one_each=bool((per_patient == 1).all()),
            _order=order,
        )

    def sort(self, per_record: NDArray[Any]) -> NDArray[Any]:
        """The same rows in the order of their patients."""
        return per_record if self._order is None else per_record[self._order]

    def of_patient(self, patient: int) -> slice:
        """Where the records of one patient stand, in sorted order."""
        return slice(int(self.offsets[patient]), int(self.offsets[patient + 1]))

    @property
    def records(self) -> Indices:
        """How many records each patient has; some may have none."""
        return np.diff(self.offsets)

    def share(self) -> Floats:
        """Weight of each record in its patient's mean, in sorted order."""
        share: Floats = 1.0 / self.records[self.owners]
        return share

    def blocks(self, records: int) -> Iterator[slice]:
        """Ranges of patients with at most so many records together, or one patient with more."""
        first = 0
        while first < self.count:
            limit = self.offsets[first] + records
            reached = int(np.searchsorted(self.offsets, limit, side="right")) - 1
            last = max(first + 1, reached)
            if self.offsets[last] > self.offsets[first]:
                yield slice(first, last)
            first = last

    def sound(self, faulty: Mask) -> Mask:
        """Patients none of whose (sorted) records is faulty; the others count as zero."""
        sound = np.ones(self.count, dtype=bool)
        sound[self.owners[faulty]] = False
        return sound


def aim(max_grad_norm: float) -> float:
    """The norm that clipping aims at: a little below the one that is claimed.

    Raises:
        BudgetError: TW4010, the norm is not a positive number.
    """
    if not 0 < max_grad_norm < math.inf:
        raise misfit("the norm is not a positive number")
    return max_grad_norm * (1 - SLACK)


def require_call(weights: Floats, include: Mask, *, dimension: int, patients: int) -> None:
    """Refuse a call whose weights or mask do not fit.

    Raises:
        BudgetError: TW4010, another number of weights or patients; TW4012, the weights are not
            finite (they come from a sum that should have been refused).
    """
    if include.shape != (patients,) or include.dtype != np.bool_:
        raise misfit("the mask has not one boolean per patient")
    if weights.shape != (dimension,):
        raise misfit("there is not one weight per parameter")
    if not np.isfinite(weights).all():
        raise BudgetError(
            "the weights are not finite",
            code="TW4012",
            help="end the run; a sum out of range must have been applied",
        )


def clipped_rows(gradients: Floats, include: Mask, *, bound: float) -> Floats:
    """Sum of the included rows, each clipped to the bound; a row that is not finite is zero."""
    norms = np.sqrt(np.einsum("pd,pd->p", gradients, gradients))
    usable = np.isfinite(norms)
    if not usable.all():
        gradients = np.where(usable[:, None], gradients, 0.0)
        norms = np.where(usable, norms, 0.0)
    total: Floats = (include * (bound / np.maximum(norms, bound))) @ gradients
    return total


def misfit(why: str) -> BudgetError:
    """The refusal of what does not fit together."""
    return BudgetError(
        f"the clipped sum cannot be taken: {why}",
        code="TW4010",
        help="this is a fault of the caller, nothing was computed; report it",
    )
