"""Which of several plans serves one patient best, as far as copies of that patient can tell.

Every copy lives every plan; what a copy gains by a plan is compared within that copy. The answer is
a share of copies, never a dose: it is for research, and where copies do not agree there is none.
The idea is that of a virtual copy of the patient per treatment (Bjornsson et al., Digital twins to
personalize medicine, Genome Medicine 12:4, 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from models.twin import Scenario, Trajectories, TwinSpec, require_may_be_asked
from twinward.errors import TwinModelError

Floats = NDArray[np.float64]

FEWEST_COPIES = 40
"""Below so many a 5th percentile is the word of one or two copies."""

_TAIL = 5.0
"""Per cent of copies on each side of an interval."""

_SIDE_90 = 1.6449
"""Standard deviations of a normal from its middle to the ends of a 90 % interval."""

RESEARCH = (
    "Research only: shares of simulated copies, not a recommendation; no dose may be taken from it."
)


@dataclass(frozen=True, slots=True)
class Aim:
    """What is wanted of a course.

    Attributes:
        low: Below this a course does harm.
        high: Above this it is not where it should be.
        penalty: What a share of time below ``low`` costs, in shares of time within.
    """

    low: float
    high: float
    penalty: float = 3.0

    def utility(self, courses: Floats) -> Floats:
        """Share of time within, less the penalty for time below; [..., t] to [...]."""
        below = np.count_nonzero(courses < self.low, axis=-1)
        above = np.count_nonzero(courses > self.high, axis=-1)
        steps = courses.shape[-1]
        value: Floats = (steps - above - (1 + self.penalty) * below) / steps
        return value

    def harmed(self, courses: Floats) -> NDArray[np.bool_]:
        """Whether a course is below ``low`` at any moment; [..., t] to [...]."""
        lowest: NDArray[np.bool_] = courses.min(axis=-1) < self.low
        return lowest


GLUCOSE = Aim(low=70.0, high=180.0)
"""mg/dL; the consensus range for time in range (Battelino et al., Diabetes Care 42(8), 2019)."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """One plan as the copies lived it.

    Attributes:
        title: Of the plan.
        utility: Mean, 5th and 95th percentile over copies.
        gain: Over the first plan within each copy, likewise.
        best: Share of copies for which no plan is better; ties are shared out.
        harm: Share of copies that are harmed under it.
        worse: Share of copies that fare worse than under the first plan.
    """

    title: str
    utility: tuple[float, float, float]
    gain: tuple[float, float, float]
    best: float
    harm: float
    worse: float


@dataclass(frozen=True, slots=True)
class Found:
    """Plans in the order given, and the one that stands out, if one does.

    Attributes:
        plans: The first is what is planned anyway.
        stands_out: Title of the plan that copies agree on; None where the search abstains.
        reason: Why it abstains, or in which sense the plan stands out.
        copies: How many.
    """

    plans: tuple[Weighed, ...]
    stands_out: str | None
    reason: str
    copies: int


def require_may_be_searched(
    spec: TwinSpec, plans: Sequence[Scenario], *, horizon_minutes: float
) -> None:
    """Nothing, if these plans can be compared by this twin.

    Raises:
        TwinModelError: TW7110, it knows no causes; TW7111, it does not know an input or a time;
            TW7140, fewer than two plans, or two of one name.
    """
    require_may_be_asked(spec, plans, horizon_minutes=horizon_minutes)
    require_to_compare([plan.title for plan in plans])


def require_to_compare(titles: Sequence[str]) -> None:
    """Nothing, if there is something to compare.

    Raises:
        TwinModelError: TW7140, fewer than two plans, or two of one name.
    """
    if len(titles) < 2 or len(set(titles)) < len(titles):
        raise TwinModelError(
            "a search needs two or more plans of different names",
            code="TW7140",
            help="give each plan once; what is planned anyway is always among them",
        )


def spread_to_hold(told: Trajectories, reach: Floats) -> Floats:
    """Courses of copies, spread until they are as uncertain as this patient's past showed.

    Copies of one patient are too sure of themselves. Each is moved up or down by what is missing to
    a calibrated interval of the course as planned: by the same under every plan, because what the
    model lacks is in all of them, and because no other course was ever observed.

    Args:
        told: As simulated; the first scenario is what is planned.
        reach: Half width of a calibrated 90 % interval in units of the scale, [t].

    Returns:
        Courses, [plans, copies, t]; infinite while calibration knows nothing yet.
    """
    if not np.isfinite(reach).all():
        return np.full_like(told.samples, np.inf)
    copies = told.samples.shape[1]
    wanted = reach * told.scale[0] / _SIDE_90
    missing = np.sqrt(np.maximum(wanted**2 - told.samples[0].var(axis=0), 0.0))
    # Copies come in no order: quantiles of a normal are as good as draws, and the same twice.
    normal = NormalDist()
    moved = np.array([normal.inv_cdf((number + 0.5) / copies) for number in range(copies)])
    spread: Floats = told.samples + moved[:, None] * missing
    return spread


def weigh(titles: Sequence[str], courses: Floats, aim: Aim) -> Found:
    """What copies say of each plan; the first plan is the one to be compared with.

    Args:
        titles: Of the plans.
        courses: [plans, copies, t].
        aim: What is wanted.
    """
    copies = courses.shape[1]
    utility = aim.utility(courses)
    harmed = aim.harmed(courses)
    gain = utility - utility[:1]
    top = utility == utility.max(axis=0)
    best = (top / top.sum(axis=0)).mean(axis=1)
    plans = tuple(
        Weighed(
            title=title,
            utility=_interval(utility[row]),
            gain=_interval(gain[row]),
            best=float(best[row]),
            harm=float(harmed[row].mean()),
            worse=float((gain[row] < 0).mean()),
        )
        for row, title in enumerate(titles)
    )
    stands_out, reason = _judged(plans, utility, courses)
    return Found(plans=plans, stands_out=stands_out, reason=reason, copies=copies)


def _judged(plans: Sequence[Weighed], utility: Floats, courses: Floats) -> tuple[str | None, str]:
    """The plan that stands out and why, or None and why not."""
    if not np.isfinite(courses).all():
        return None, "too little is known of this patient for an interval that holds"
    if utility.shape[1] < FEWEST_COPIES:
        return None, f"{utility.shape[1]} copies are too few; {FEWEST_COPIES} are needed"
    first = int(np.argmax(utility.mean(axis=1)))
    leader = plans[first]
    for row, other in enumerate(plans):
        if row == first:
            continue
        # Many copies fare equally well under both: that speaks for neither.
        low, median = np.percentile(utility[first] - utility[row], [_TAIL, 50])
        if low < 0 or median <= 0:
            return None, f"intervals do not separate `{leader.title}` from `{other.title}`"
    if leader.harm > plans[0].harm:
        return None, f"`{leader.title}` leads, and harms more copies than what is planned"
    return leader.title, "no worse than any other plan in 95 % of copies, and better in most"


def _interval(values: Floats) -> tuple[float, float, float]:
    low, high = np.percentile(values, [_TAIL, 100 - _TAIL])
    return float(values.mean()), float(low), float(high)
