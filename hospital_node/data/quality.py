"""What was brought in and how good it is, before anything trains: exact figures that stay here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from hospital_node.data.contract import FIELDS
from hospital_node.data.defects import KINDS, Defect
from hospital_node.data.imported import qualifying
from hospital_node.data.recordings import LABELS, unpacked
from hospital_node.data.store import Import, Kept
from models.cardiac_ecg.risk import RECORDING
from models.cardiac_risk.inputs import LABEL

_CODED = 8
"""Fields with at most so many possible values are counted one by one."""


def summary(
    kept: Sequence[Kept],
    *,
    imports: Sequence[tuple[Import, Sequence[Defect]]],
    minimum: int | None,
    version: str | None,
) -> dict[str, Any]:
    """Everything that the report says, as JSON values.

    Args:
        kept: Every patient in the store.
        imports: Every import with its defects, oldest first.
        minimum: The site's smallest cohort; None if the node has no configuration yet.
        version: Root over those who qualify; None if nobody does, or there is no identity yet.
    """
    able = qualifying(kept)
    label = LABELS[0] if any(each.signal for each in able) else LABEL.name
    ill = sum(each.values.get(label, 0.0) > 0 for each in able)
    defects = [defect for _, of in imports for defect in of]
    return {
        "patients": len(kept),
        "qualifying": len(able),
        "with_disease": ill,
        "without_disease": sum(each.values.get(label) == 0 for each in able),
        "minimum_cohort": minimum,
        "enough": None if minimum is None else len(able) >= minimum,
        "version": version,
        "fields": (
            [_field(name, able) for name in FIELDS]
            if label == LABEL.name
            else [_recordings(able), *(_label(name, able) for name in LABELS)]
        ),
        "defects": _counts(defects),
        "imports": [
            {
                "files": list(each.files)[:20],
                "file_count": len(each.files),
                "begun": each.begun,
                "finished": each.done,
                "defects": [defect.as_json() for defect in of],
            }
            for each, of in imports
        ],
    }


def _field(name: str, able: Sequence[Kept]) -> dict[str, Any]:
    field = FIELDS[name]
    column = field.column
    values = np.array([each.values[name] for each in able if name in each.values])
    found: dict[str, Any] = {
        "name": name,
        "meaning": column.meaning,
        "unit": None if field.above is not None else field.unit,
        "recorded": int(values.size),
        "share": values.size / len(able) if able else 0.0,
        "values": None,
        "quartiles": None,
    }
    if not values.size:
        return found
    if column.whole and column.high - column.low < _CODED:
        counted = Counter(values.tolist())
        found["values"] = {f"{value:g}": counted[value] for value in sorted(counted)}
    else:
        found["quartiles"] = [float(q) for q in np.quantile(values, (0.0, 0.25, 0.5, 0.75, 1.0))]
    return found


def _recordings(able: Sequence[Kept]) -> dict[str, Any]:
    """How many have a recording, and how high it goes: a cable that was off shows as nothing."""
    highest = [float(np.nanmax(np.abs(unpacked(each.signal)))) for each in able]
    return {
        "name": RECORDING,
        "meaning": "ten seconds of twelve leads; highest deflection",
        "unit": "mV",
        "recorded": len(highest),
        "share": 1.0,
        "values": None,
        "quartiles": [float(q) for q in np.quantile(highest, (0.0, 0.25, 0.5, 0.75, 1.0))],
    }


def _label(name: str, able: Sequence[Kept]) -> dict[str, Any]:
    counted = Counter(each.values[name] for each in able if name in each.values)
    return {
        "name": name,
        "meaning": "1 reported, 0 a normal recording and nothing else",
        "unit": None,
        "recorded": counted.total(),
        "share": counted.total() / len(able),
        "values": {f"{value:g}": counted[value] for value in sorted(counted)},
        "quartiles": None,
    }


def _counts(defects: Sequence[Defect]) -> list[dict[str, Any]]:
    counted = Counter(defect.kind for defect in defects)
    return [
        {
            "defect": name,
            "code": KINDS[name].code,
            "means": KINDS[name].words,
            "lost": KINDS[name].lost.value,
            "count": count,
        }
        for name, count in counted.most_common()
    ]
