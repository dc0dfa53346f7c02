"""Sum of clipped distances to each patient's own numbers: one step of it is a private mean.

The loss of a patient with numbers v is half the squared distance of the weights from v, so the
gradient is ``weights - v``. From weights zero with rate one, a single step ends at the mean of the
clipped numbers: a prior is learnt by the same plan, sum and proof as any model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hospital_node.privacy.engines.patients import (
    Floats,
    Mask,
    Patients,
    aim,
    clipped_rows,
    misfit,
    require_call,
)


class MeanClippedSum:
    """Clipped distances from patients' own numbers; see ``clipped_sum.ClippedSum``.

    Args:
        x: Numbers, [records, weights].
        owner: Index of the patient per record; by default one record per patient.
        max_grad_norm: Norm C to which a patient's distance is clipped.

    A patient with anything that is not finite contributes zero to every sum; of several records
    the mean counts.

    Raises:
        BudgetError: TW4010, shapes or owners do not fit together; TW4011, too many patients.
    """

    def __init__(
        self, x: Floats, *, max_grad_norm: float, owner: NDArray[np.intp] | None = None
    ) -> None:
        if x.ndim != 2:
            raise misfit("there is not one row of numbers per record")
        members = Patients.of(len(x), owner)
        self.patients = members.count
        self.sensitivity = float(max_grad_norm)
        self._bound = aim(max_grad_norm)
        x = members.sort(x).astype(np.float64)
        own = np.zeros((members.count, x.shape[1]))
        having = members.records > 0
        with np.errstate(over="ignore", invalid="ignore"):
            means = np.add.reduceat(x, members.offsets[:-1][having], axis=0) if len(x) else x
            own[having] = means / members.records[having, None]
        # Half of the largest float squared overflows: such a patient is as faulty as one with NaN.
        with np.errstate(over="ignore", invalid="ignore"):
            self._sound = having & np.isfinite(np.einsum("pd,pd->p", own, own))
        self._own = np.where(self._sound[:, None], own, 0.0)

    def __call__(self, weights: Floats, include: Mask) -> Floats:
        """The sum over included patients.

        Raises:
            BudgetError: TW4010, the mask has another length than there are patients; TW4012, the
                weights are not finite.
        """
        dimension = self._own.shape[1]
        require_call(weights, include, dimension=dimension, patients=self.patients)
        with np.errstate(over="ignore", invalid="ignore"):
            return clipped_rows(weights - self._own, include & self._sound, bound=self._bound)

    def forget(self, patient: int) -> None:
        """Overwrite a patient's numbers; see ``clipped_sum.ClippedSum``."""
        self._own[patient] = 0.0
        self._sound[patient] = False
