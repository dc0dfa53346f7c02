"""Beds taken, from a hospital's own file: read, asked, calibrated on its past, withheld if no help.

The file stays where it is and nothing of it is kept. Two forms: a table of admissions
(``hospital_node.data.admissions``) makes the twin that may be asked what-if; ``time,beds`` with one
count a day makes a forecast and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from hospital_node.data import admissions
from hospital_node.twins import diary
from hospital_node.twins.deployment import PUBLIC
from models import twins
from models.calibration import of_past
from models.census import judge, made_up
from models.census.stays import DAY, observed
from models.twin import (
    AS_PLANNED,
    Floats,
    Population,
    Replay,
    Scenario,
    Series,
    Twin,
    TwinSpec,
    require_may_be_asked,
)
from twinward.errors import DataError

STAYS, COUNTS = "census/1", "bed-count/1"
_LOOKED_AT = (1, 3, 7, 14)
_Z90 = 1.6449
_SHOWN_DAYS = 14


@dataclass(frozen=True, slots=True)
class Census:
    """What is said of the next days; rows are scenarios, the first is without a change.

    Attributes:
        spec: Of the twin.
        population: What it started from.
        asked_at: Moment of the last line, minutes since 1970 if the file has dates.
        scenarios: Titles.
        days: From now, [t].
        middle: Beds, [scenarios, t]; NaN where withheld.
        low: Lower end of the 90 % interval; -inf while too little is known.
        high: Upper end.
        over: Share of copies above the beds there are, likewise; None if nobody asked.
        standings: How each horizon did over the last weeks.
        coverage: Horizon in days, share of past observations inside the interval, of how many.
        recent: Days before now and beds then.
    """

    spec: TwinSpec
    population: str
    asked_at: float
    scenarios: tuple[str, ...]
    days: Floats
    middle: Floats
    low: Floats
    high: Floats
    over: Floats | None
    standings: tuple[judge.Standing, ...]
    coverage: tuple[tuple[int, float, int], ...]
    recent: tuple[tuple[float, float], ...]


def read(text: str) -> tuple[Twin, Series]:
    """The twin that a file is for, and what was observed.

    Raises:
        DataError: TW7145, TW7146; TW7130, TW7131 for counts.
    """
    heading = admissions.heading(text)
    if heading == ("time", "beds"):
        twin = twins.get(COUNTS)
        return twin, diary.read(text, spec=twin.spec)
    if heading not in (admissions.COLUMNS, admissions.WITH_RECORDS):
        raise DataError(
            "the first line must be `arrived,left`, `record,arrived,left` or `time,beds`",
            code="TW7145",
            help="give a line for every admission, or one count a day; leave out everything else, "
            "names of patients above all",
        )
    found = admissions.parse(text)  # the forecast is of the ward: whose admissions is not looked at
    return twins.get(STAYS), observed(found.came, found.left)


def ask(
    twin: Twin,
    history: Series,
    scenarios: Sequence[Scenario] = (),
    *,
    days: int,
    beds: float | None = None,
    start: tuple[str, Population] | None = None,
) -> Census:
    """The forecast, and the beds under each scenario; nothing of it is kept.

    Args:
        twin: From ``read``.
        history: From ``read``.
        scenarios: Changes.
        days: How far to look.
        beds: How many there are; asks how likely they are too few.
        start: Label of what the twin starts from, and that; what is public if None.

    Raises:
        TwinModelError: TW7110, TW7111, it cannot answer this; TW7142 to TW7144, too little history.
    """
    require_may_be_asked(twin.spec, scenarios, horizon_minutes=days * DAY)
    label, population = start or (PUBLIC, twin.population())
    own = twin.individualise(population, history, generator=np.random.default_rng(0))
    state = twin.begin(own, history)
    told = twin.simulate(own, state, (AS_PLANNED, *scenarios), horizon_minutes=days * DAY)
    looked = [each for each in _LOOKED_AT if each <= days]
    pasts = {each: twin.replay(own, history, horizon_minutes=each * DAY) for each in looked}
    known = {each: of_past(past) for each, past in pasts.items()}
    standings = tuple(judge.lately(past, days=each) for each, past in pasts.items())
    shown = told.minutes / DAY
    nearest = np.searchsorted((np.array(looked[1:]) + np.array(looked[:-1])) / 2, shown)
    withheld = np.array([each.withheld is not None for each in standings])[nearest]
    middle = np.where(withheld, np.nan, told.samples.mean(axis=1))
    half = np.array([max(known[each].reach, 0.0) for each in looked])[nearest] * told.scale
    return Census(
        spec=twin.spec,
        population=label,
        asked_at=float(history.minutes[-1]),
        scenarios=(AS_PLANNED.title, *(scenario.title for scenario in scenarios)),
        days=shown,
        middle=middle,
        low=np.maximum(middle - half, 0.0),
        high=middle + half,
        over=None if beds is None else _over(told.samples, middle, half / told.scale, beds),
        standings=standings,
        coverage=tuple((each, one.coverage, one.seen) for each, one in known.items()),
        recent=_recent(pasts[looked[0]], now=float(history.minutes[-1])),
    )


def example(*, days: int, seed: int, records: bool = False) -> str:
    """A table of a made-up ward's admissions; nobody's.

    Args:
        days: How long.
        seed: Another seed is another ward.
        records: With a record number for each patient; every seventh admission is of somebody
            who was in before.
    """
    came, left = made_up.stays(made_up.ward(seed), days=days, seed=seed)
    # The unix epoch is too long ago to be read as a calendar: whole weeks keep the weekdays.
    shift = 2920 * 7 * DAY
    rows = [",".join(admissions.WITH_RECORDS if records else admissions.COLUMNS)]
    for row, (begun, ended) in enumerate(zip(came, left, strict=True)):
        gone = _date(ended + shift) if ended <= came[-1] else ""
        whose = f"w{seed}-{row // 2 if row % 7 == 6 else row:05d}," if records else ""
        rows.append(f"{whose}{_date(begun + shift)},{gone}")
    return "\n".join(rows) + "\n"


def _over(samples: Floats, middle: Floats, reach: Floats, beds: float) -> Floats:
    """Share of copies above the beds there are, once copies are spread as the interval is."""
    centre = samples.mean(axis=1, keepdims=True)
    spread = np.where(np.isinf(reach), np.nan, reach / _Z90)[:, None]
    share: Floats = (centre + spread * (samples - centre) > beds).mean(axis=1)
    return np.where(np.isnan(middle) | np.isnan(spread[:, 0]), np.nan, share)


def _recent(past: Replay, *, now: float) -> tuple[tuple[float, float], ...]:
    """Days before now and beds then: what was known when asked, and what was seen last."""
    before = np.append(past.minutes, past.minutes[-1:] + DAY) - now
    beds = np.append(past.last, past.seen[-1:])
    shown = (before > -_SHOWN_DAYS * DAY) & np.isfinite(beds)
    return tuple(zip((before[shown] / DAY).tolist(), beds[shown].tolist(), strict=True))


def _date(minutes: float) -> str:
    return datetime.fromtimestamp(minutes * 60, UTC).strftime("%Y-%m-%dT%H:%M")
