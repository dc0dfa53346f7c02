"""A trial on virtual people and what it says of each arm. No patient and no data are involved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.glucose import virtual_trial
from models.glucose.virtual_trial import Arm
from models.treatment_search import GLUCOSE, Found, require_to_compare, weigh
from twinward.errors import UsageError

USUAL = Arm("usual dose", 1.0, 0)
"""What every other arm is compared with."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Over everyone, and over each group of people."""

    everyone: Found
    groups: tuple[tuple[str, Found], ...]


def run(arms: Sequence[Arm], *, people: int, grams: float, seed: int) -> Findings:
    """What the trial of these arms beside the usual dose finds; the same seed, the same findings.

    Raises:
        TwinModelError: TW7140, no arm, or two of one name.
    """
    every = (USUAL, *arms)
    require_to_compare([arm.title for arm in every])
    trial = virtual_trial.run(
        every, people=people, grams=grams, generator=np.random.default_rng(seed)
    )
    titles = [arm.title for arm in every]
    groups = []
    for group in sorted(set(trial.groups)):
        members = np.array([each == group for each in trial.groups])
        groups.append((group, weigh(titles, trial.courses[:, members], GLUCOSE)))
    return Findings(weigh(titles, trial.courses, GLUCOSE), tuple(groups))


def arm(text: str) -> Arm:
    """An arm as it is written: ``FACTOR@MINUTES``, such as 0.8@-15.

    Raises:
        UsageError: TW7141, it is not of this form, or outside of what a trial can look at.
    """
    factor, _, minutes = text.partition("@")
    try:
        found = Arm(f"{float(factor):g} x the dose", float(factor), int(minutes or 0))
    except ValueError:
        found = Arm("", -1.0, 0)
    if not (0 <= found.factor <= 3 and -virtual_trial.MEAL <= found.minutes <= 120):
        raise UsageError(
            f"`{text}` is not an arm of a trial",
            code="TW7141",
            help="write FACTOR@MINUTES: a factor from 0 to 3 on the usual dose, and minutes from "
            f"the meal, from {-virtual_trial.MEAL} to 120, such as 0.8@-15",
        )
    if found.minutes:
        side = "after" if found.minutes > 0 else "before"
        return Arm(f"{found.title}, {abs(found.minutes)} min {side}", found.factor, found.minutes)
    return found
