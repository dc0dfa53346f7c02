"""What a twin is here: one protocol that every model of one patient, or of one ward, follows.

A twin has a *state* that follows what is observed, parameters of *its own* that start from what a
population taught, and answers that carry intervals which hold. A model that has no state of its own
and cannot be asked about another course of action is registered as a risk model and never called a
twin. Only ``Population`` may ever leave a hospital, by the private routes; an ``Individual`` and a
``State`` never do.

A new twin is one folder under ``models/`` and one line in ``models/twins.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from twinward.errors import TwinModelError

Floats = NDArray[np.float64]
Arrays = Mapping[str, Floats]
"""Named arrays: what a store can keep of any twin without knowing which it is."""

Population = Arrays
"""What many patients taught: released with differential privacy, or public."""

Individual = Arrays
"""One patient's own parameters. Stays at the hospital."""

State = Arrays
"""Where one patient is now. Stays at the hospital."""


class Kind(StrEnum):
    """What is twinned."""

    DYNAMIC = "dynamic"
    """One patient whose state changes within the horizon."""

    BASELINE = "baseline"
    """What is usual for one patient, to notice what is not."""

    RISK = "risk"
    """Not a twin: a statement about patients like this one, made again with each new result."""

    SYSTEM = "system"
    """A ward or a hospital."""


class Reasoning(StrEnum):
    """Which questions the model can be asked."""

    MECHANISTIC = "mechanistic"
    """Doses and food enter as causes: it may be asked what another dose would do."""

    ASSOCIATIONAL = "associational"
    """It knows what went with what; asked about an action it can be wrong in the direction."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One input or output.

    Attributes:
        name: As in series and scenarios.
        title: For people.
        code: LOINC, or ``local:`` and a name where LOINC has none that fits.
        unit: UCUM.
        low: Smallest value that is believed.
        high: Largest value that is believed.
    """

    name: str
    title: str
    code: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TwinSpec:
    """What a twin is for and what it may be asked; printed wherever an answer is.

    Attributes:
        name: With its version.
        title: For people.
        kind: What is twinned.
        reasoning: Which questions it can be asked.
        inputs: What it takes in.
        actions: Which of the inputs a scenario may change; none for an associational model.
        outputs: What it answers.
        step_minutes: Between the moments of an answer.
        horizon_minutes: How far it looks ahead.
        intended_use: For whom and for what.
        limits: What it must not be used for and why.
        sources: Papers, data and their licences.
    """

    name: str
    title: str
    kind: Kind
    reasoning: Reasoning
    inputs: tuple[Quantity, ...]
    actions: tuple[str, ...]
    outputs: tuple[Quantity, ...]
    step_minutes: float
    horizon_minutes: float
    intended_use: str
    limits: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """What was observed of one patient, in time order.

    Attributes:
        minutes: Since a moment that the series' owner chose, rising, [n].
        values: Input's name to its values, NaN where there is none, [n] each.
    """

    minutes: Floats
    values: Arrays

    def __post_init__(self) -> None:
        if any(column.shape != self.minutes.shape for column in self.values.values()):
            raise _bad_series("its columns are not equally long")
        if not np.isfinite(self.minutes).all() or np.any(np.diff(self.minutes) <= 0):
            raise _bad_series("its times do not rise")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A course of action to ask about; ``actions`` maps a moment and an input to what is added.

    Attributes:
        title: For people: "half the dose at noon".
        actions: (minutes from now, input's name, amount beyond what is planned).
    """

    title: str
    actions: tuple[tuple[float, str, float], ...] = ()


AS_PLANNED = Scenario("as planned")
"""No change: the forecast."""


@dataclass(frozen=True, slots=True)
class Trajectories:
    """Possible courses of one output under each scenario.

    Attributes:
        output: Which.
        minutes: From now, [t].
        samples: [scenarios, copies, t].
        scale: How uncertain the middle is before calibration, [scenarios, t].
    """

    output: str
    minutes: Floats
    samples: Floats
    scale: Floats


@dataclass(frozen=True, slots=True)
class Replay:
    """What a twin would have said at past moments, and what was seen then.

    Attributes:
        minutes: Moments of asking, in the history's time, [n].
        said: Middle of its answer, [n].
        scale: How uncertain it was, in the unit of the output, [n].
        seen: What was observed then; NaN where nothing was, [n].
        last: What was known as it was asked, the answer of "stays as it is", [n].
    """

    minutes: Floats
    said: Floats
    scale: Floats
    seen: Floats
    last: Floats


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a twin answers as it does.

    Attributes:
        rows: Name, this patient's value, the population's middle, the patient's percentile in it.
        words: One sentence for each that stands out.
    """

    rows: tuple[tuple[str, float, float, float], ...]
    words: tuple[str, ...]


class Twin(Protocol):
    """A model of one patient. Pure arithmetic: no files, no clock, no network."""

    @property
    def spec(self) -> TwinSpec:
        """What it is for and what it may be asked."""
        ...

    def population(self) -> Population:
        """The public start, from no patient at all."""
        ...

    def individualise(
        self, population: Population, history: Series, *, generator: np.random.Generator
    ) -> Individual:
        """One patient's own parameters from what was observed so far."""
        ...

    def begin(self, individual: Individual, history: Series) -> State:
        """Where the patient is at the end of the history."""
        ...

    def assimilate(self, individual: Individual, state: State, seen: Series) -> State:
        """The state after some more observations; later than all before."""
        ...

    def simulate(
        self,
        individual: Individual,
        state: State,
        scenarios: Sequence[Scenario],
        *,
        horizon_minutes: float,
    ) -> Trajectories:
        """Courses from now on; callers go through ``require_may_be_asked`` first."""
        ...

    def replay(self, individual: Individual, history: Series, *, horizon_minutes: float) -> Replay:
        """What it would have said so far ahead at moments of the history; for calibration."""
        ...

    def explain(self, individual: Individual, population: Population) -> Explanation:
        """What is particular about this patient."""
        ...


def require_may_be_asked(
    spec: TwinSpec, scenarios: Sequence[Scenario], *, horizon_minutes: float
) -> None:
    """Nothing, if this model can answer these scenarios.

    Raises:
        TwinModelError: TW7110, it knows no causes; TW7111, no such input, not a number, or beyond
            what it can look ahead.
    """
    actions = [action for scenario in scenarios for action in scenario.actions]
    if actions and spec.reasoning is not Reasoning.MECHANISTIC:
        raise TwinModelError(
            f"`{spec.name}` cannot say what another course of action would do",
            code="TW7110",
            note="it has learnt what went with what and not what causes what; on such questions "
            "models of its kind can point in the wrong direction",
            help="ask a mechanistic twin, or ask this one for a forecast without changes",
        )
    for minutes, name, amount in actions:
        inside = 0 <= minutes <= horizon_minutes
        if name not in spec.actions or not inside or not np.isfinite(amount):
            raise TwinModelError(
                f"`{spec.name}` cannot be asked about {amount:g} `{name}` in {minutes:g} minutes",
                code="TW7111",
                help=f"name one of {', '.join(spec.actions)}, a finite amount, and a time between "
                f"0 and {horizon_minutes:g} minutes from now",
            )
    if not 0 < horizon_minutes <= spec.horizon_minutes:
        raise TwinModelError(
            f"`{spec.name}` does not look {horizon_minutes:g} minutes ahead",
            code="TW7111",
            help=f"ask for at most {spec.horizon_minutes:g} minutes",
        )


def _bad_series(reason: str) -> TwinModelError:
    return TwinModelError(
        f"this series cannot be used: {reason}",
        code="TW7112",
        help="give one value or nothing of each column for every time, in time order",
    )
