"""Rows of a validation report that several sections use; silent where too few stand behind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hospital_node.twins.validation import Row
from models import evaluation
from models import validation as maths

Floats = NDArray[np.float64]

TOO_FEW = f"fewer than {evaluation.FEWEST_PER_CLASS} ill or well patients: it would be a list"


def auroc(name: str, scores: Floats, labels: Floats) -> Row:
    """An AUROC with its interval, if each class has ten patients."""
    found = evaluation.auroc_of(evaluation.ranked(scores, labels))
    if found is None:
        return Row(name, None, note=TOO_FEW)
    one = found.estimate
    return Row(name, one.value, one.low, one.high, of=int(labels.size))


def between(name: str, found: maths.Between | None, *, of: int | None, lacking: str) -> Row:
    """A figure with its interval; ``lacking`` says why there is none."""
    if found is None:
        return Row(name, None, note=lacking)
    return Row(name, found.value, found.low, found.high, of=of, drawn=False)
