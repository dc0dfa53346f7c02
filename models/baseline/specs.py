"""Which baselines there are: quantities with codes and units, and what is usual before any reading.

The numbers are textbook statements on adults at rest, rounded, from no patient's record; what a
hospital's patients would teach instead is the five rows of ``Usual``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.baseline.engine import Usual
from models.twin import Kind, Quantity, Reasoning, TwinSpec

_ALERTS = "Calibration of alerts: Gibbs and Candes, NeurIPS 2021"
_LEVELS = "Levels: Harvey 1989; their start: textbook values of adults, no patient"
_LIMITS = (
    "Not a medical device: an alert is a reason to look and never an alarm; it can be late.",
    "What is dangerous need not be unusual, and what is unusual need not be dangerous.",
    "One moment in twenty gives an alert whatever the condition: read the burden beside it.",
    "Says that a reading is unusual for this patient and not why. Answers no what-if.",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity with what is usual of it.

    Attributes:
        quantity: What it is.
        mean: Of people.
        between: Standard deviation of people's levels.
        within: Of one person's readings.
        drift: Of one person's level over a day.
        slope: Of the slope of that level, per day, over a day.
    """

    quantity: Quantity
    mean: float
    between: float
    within: float
    drift: float
    slope: float


def usual(measured: tuple[Measured, ...]) -> Usual:
    """The start of a baseline of these quantities."""
    rows = [(m.mean, m.between, m.within, m.drift, m.slope) for m in measured]
    return Usual(*np.array(rows, dtype=np.float64).T.copy())


VITALS = (
    Measured(Quantity("heart_rate", "Heart rate", "8867-4", "/min", 20, 300), 75, 12, 8, 3, 0.3),
    Measured(
        Quantity("systolic", "Systolic blood pressure", "8480-6", "mm[Hg]", 40, 300),
        125, 15, 9, 3, 0.3,
    ),
    Measured(
        Quantity("diastolic", "Diastolic blood pressure", "8462-4", "mm[Hg]", 20, 200),
        75, 10, 6, 2, 0.2,
    ),
    Measured(
        Quantity("respiratory_rate", "Respiratory rate", "9279-1", "/min", 2, 80),
        16, 3, 2, 1, 0.1,
    ),
    Measured(
        Quantity("oxygen_saturation", "Oxygen saturation, pulse oximetry", "59408-5", "%", 40, 100),
        97, 1.5, 1, 0.3, 0.03,
    ),
    Measured(
        Quantity("temperature", "Body temperature", "8310-5", "Cel", 28, 44),
        36.8, 0.3, 0.3, 0.15, 0.02,
    ),
)  # fmt: skip
WELLNESS = (
    Measured(Quantity("sleep_hours", "Sleep", "93832-4", "h", 0, 24), 7, 0.8, 1, 0.1, 0.01),
    Measured(
        Quantity("steps", "Steps in 24 hours", "41950-7", "{steps}/d", 0, 120_000),
        7000, 2500, 2500, 250, 25,
    ),
    Measured(
        Quantity("resting_heart_rate", "Resting heart rate", "40443-4", "/min", 20, 200),
        65, 9, 3, 0.6, 0.06,
    ),
    Measured(Quantity("weight", "Body weight", "29463-7", "kg", 20, 400), 75, 15, 0.6, 0.15, 0.02),
)  # fmt: skip
HEARTBEAT = (
    Measured(
        Quantity("interval", "Time since the beat before", "local:beat-interval", "s", 0.2, 4),
        0.85, 0.2, 0.06, 1.0, 0,
    ),
    Measured(
        Quantity("suddenness", "Log ratio to the last eight", "local:beat-suddenness", "1", -5, 5),
        0, 0.02, 0.06, 0.1, 0,
    ),
    Measured(
        Quantity("unlikeness", "Log distance from usual beat", "local:beat-unlikeness", "1", -9, 9),
        -1.2, 0.5, 0.3, 3.0, 0,
    ),
)  # fmt: skip


def _spec(
    name: str,
    title: str,
    measured: tuple[Measured, ...],
    *,
    step: float,
    horizon: float,
    use: str,
    limits: tuple[str, ...] = (),
) -> TwinSpec:
    quantities = tuple(each.quantity for each in measured)
    return TwinSpec(
        name=name,
        title=title,
        kind=Kind.BASELINE,
        reasoning=Reasoning.ASSOCIATIONAL,
        inputs=quantities,
        actions=(),
        outputs=quantities[:1],
        step_minutes=step,
        horizon_minutes=horizon,
        intended_use=use,
        limits=(*_LIMITS, *limits),
        sources=(_LEVELS, _ALERTS),
    )


VITALS_SPEC = _spec(
    "vitals/1",
    "Vital signs against the patient's own baseline",
    VITALS,
    step=60,
    horizon=240,
    use="Research and teaching: notices readings that are unusual for one adult patient.",
    limits=("Knows no time of day: a patient's nights may look unusual at first.",),
)
WELLNESS_SPEC = _spec(
    "wellness/1",
    "Sleep, steps, resting pulse and weight against a person's own baseline",
    WELLNESS,
    step=1440,
    horizon=7 * 1440,
    use="Research and teaching: one row a day of a person who wears a watch; rules of a coach.",
    limits=("A watch's sleep and steps are estimates; another watch is another baseline.",),
)
HEARTBEAT_SPEC = _spec(
    "heartbeat/1",
    "Each heartbeat against the patient's own in one lead",
    HEARTBEAT,
    step=1,
    horizon=5,
    use="Research and teaching: notices beats that are unusual for one patient, in one recording.",
    limits=(
        "Knows no arrhythmia: where every fourth beat is an extra one, few of them give an alert.",
        "Tried on 8 recordings of 30 minutes (MIT-BIH); no statement on sensitivity.",
    ),
)
