"""How much of a study's data may be read of each patient.

Nothing, all of it, or all but the categories that the patient left out. A share is a small number
for each row of the patient table. What a patient left out is read as if it had never been
recorded, everywhere: in training, in measuring, in reports that stay here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from consent.policy import Decision
from consent.study import Study

Mask = NDArray[np.bool_]
Shares = NDArray[np.uint8]
Columns = Mapping[str, NDArray[np.float64]]

NOTHING, ALL = 0, 1
"""Of a patient who may not be used, and of one who leaves nothing out; beyond: 1 + bits."""


class Permitted:
    """The shares of one moment and the mask that follows; read-only, replaced and never changed.

    Attributes:
        shares: Of each row.
        mask: Who may be used at all.
    """

    __slots__ = ("_both", "mask", "shares")

    def __init__(self, both: Shares) -> None:
        # One block for both: two of a megabyte each are unmapped and mapped again at every change.
        both.setflags(write=False)
        self._both = both
        self.shares: Shares = both[0]
        self.mask: Mask = both[1].view(np.bool_)

    @classmethod
    def of(cls, shares: Shares) -> Permitted:
        """From the share of each row."""
        return cls(np.stack([shares, shares != NOTHING], dtype=np.uint8))

    def changed(self, decided: Mapping[int, int]) -> Permitted:
        """The same with other shares in some rows; itself where none differs."""
        differs = {row: share for row, share in decided.items() if self.shares[row] != share}
        if not differs:
            return self
        both, rows = self._both.copy(), list(differs)
        both[0, rows] = list(differs.values())
        both[1, rows] = both[0, rows] != NOTHING
        return Permitted(both)


def share_of(decision: Decision) -> int:
    """What a decision comes to; ``withheld`` bits are those of the study."""
    return ALL + decision.withheld if decision.permit else NOTHING


def readable(columns: Columns, study: Study, *, rows: NDArray[np.intp], shares: Shares) -> Columns:
    """The columns of these rows, with nothing (NaN) where a patient left a category out.

    ``shares`` are of the same rows. The result is a copy: what a patient left out is not in it.
    """
    found = {name: values[rows] for name, values in columns.items()}
    withheld = np.where(shares > ALL, shares - ALL, 0)
    for bit, category in enumerate(study.optional):
        out = (withheld >> bit & 1).astype(np.bool_)
        for name in category.columns:
            found[name][out] = np.nan
    return found
