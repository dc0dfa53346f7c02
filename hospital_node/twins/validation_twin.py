"""What a validation of a twin says: on each person's last days, after a twin made from the others.

A person is one series; the first 70 % make the twin, the last 30 % judge it. Figures are over
people, so that one with many readings is no more than one person, and are not shown for fewer than
ten, unless the people are made up or it is a ward that is twinned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hospital_node.twins.validation import Release, Row, Section
from models import coverage
from models.evaluation import FEWEST_PER_CLASS
from models.twin import Floats, Individual, Kind, Population, Replay, Series, Twin
from twinward.errors import TwinModelError

Mask = NDArray[np.bool_]

TRAINED = 0.7
_DAY = 1440.0
_Z95 = 1.959964
_LOW_SHARE = 0.1
_LOWEST_HELD = 0.8
"""Intervals that hold less often than this, beyond chance, are an alarm."""

_AHEAD: Mapping[Kind, tuple[float, ...]] = {
    Kind.DYNAMIC: (30.0, 60.0, 120.0, 240.0),
    Kind.BASELINE: (60.0,),
    Kind.SYSTEM: (_DAY, 3 * _DAY, 7 * _DAY),
}
_FIRST: Mapping[Kind, float] = {Kind.DYNAMIC: _DAY, Kind.BASELINE: _DAY, Kind.SYSTEM: 30 * _DAY}
"""Minutes of history that a twin with hardly anything of its own is made from."""


@dataclass(frozen=True, slots=True)
class Person:
    """What one person's twins said on their last days.

    Attributes:
        own: Replay of the twin made from all that came before, by horizon.
        held: Whether its intervals held, likewise; of the last days.
        first: Replay of the one made from a first day only; missing where that was too little.
        starts: Replay of the twin made from a first day and another start, by the start's name.
    """

    own: Mapping[float, Replay]
    held: Mapping[float, Floats]
    first: Mapping[float, Replay]
    starts: Mapping[str, Mapping[float, Replay]]


def sections(
    twin: Twin,
    people: Sequence[Series],
    *,
    starts: Mapping[str, Population],
    release: Release,
    why: str,
    generator: Callable[[], np.random.Generator],
) -> tuple[tuple[Section, ...], tuple[str, ...]]:
    """All figures, and what is alarming about them.

    Args:
        twin: Which.
        people: A series each; one that is too short is left out and counted.
        starts: Populations by name; the first is the one in use.
        release: Who may see the figures.
        why: What they rest on.
        generator: A fresh one per person.
    """
    lived, short = [], 0
    for series in people:
        try:
            lived.append(_live(twin, series, starts, generator()))
        except TwinModelError:
            short += 1
    fewest = (
        FEWEST_PER_CLASS if release is Release.STAYS and twin.spec.kind is not Kind.SYSTEM else 1
    )
    if len(lived) < fewest:
        note = f"{fewest} people with enough history are needed to show anything about them"
        return (Section("Figures", release, why, (Row("all", None, note=note),)),), ()
    ahead = [each for each in _AHEAD[twin.spec.kind] if each <= twin.spec.horizon_minutes]
    covered = _coverage(lived, ahead, release, why)
    return (
        Section("On whom?", release, why, _whom(twin, lived, short)),
        _skill(lived, ahead, release, why),
        covered,
        _own_against_first(twin, lived, ahead, release, why),
        _against_starts(lived, ahead, tuple(starts), release, why),
        _changes(lived, ahead, release, why),
        Section(
            "What is not here",
            Release.PUBLIC,
            "Said of every twin.",
            (
                Row("groups", None, note="a series holds neither sex nor age, so there are none"),
                Row(
                    "with and without privacy",
                    None,
                    note="what was learnt from other hospitals is the start; the rows on starts "
                    "compare a released one with the public one, which no patient was needed for",
                ),
            ),
        ),
    ), _alarms(covered)


def _live(
    twin: Twin, series: Series, starts: Mapping[str, Population], generator: np.random.Generator
) -> Person:
    span = series.minutes[-1] - series.minutes[0]
    cut = float(series.minutes[0] + TRAINED * span)
    first = float(series.minutes[0] + _FIRST[twin.spec.kind])
    ahead = [each for each in _AHEAD[twin.spec.kind] if each <= twin.spec.horizon_minutes]
    names = list(starts)
    own = twin.individualise(starts[names[0]], _until(series, cut), generator=generator)
    said = {each: twin.replay(own, series, horizon_minutes=each) for each in ahead}
    held = {
        each: coverage.held(past, horizon_minutes=each)[past.minutes >= cut]
        for each, past in said.items()
    }
    early: dict[str, Mapping[float, Replay]] = {}
    for name, start in starts.items():
        try:
            little = twin.individualise(start, _until(series, first), generator=generator)
        except TwinModelError:
            continue
        early[name] = _after(twin, little, series, cut, ahead)
    return Person(
        own={each: _part(past, past.minutes >= cut) for each, past in said.items()},
        held=held,
        first=early.get(names[0], {}),
        starts=early,
    )


def _after(
    twin: Twin, individual: Individual, series: Series, cut: float, ahead: Sequence[float]
) -> dict[float, Replay]:
    pasts = {each: twin.replay(individual, series, horizon_minutes=each) for each in ahead}
    return {each: _part(past, past.minutes >= cut) for each, past in pasts.items()}


def _whom(twin: Twin, lived: Sequence[Person], short: int) -> tuple[Row, ...]:
    unit = "wards" if twin.spec.kind is Kind.SYSTEM else "people"
    rows = [Row(unit, float(len(lived)))]
    if short:
        rows.append(Row(f"{unit} left out", float(short), note="too little history"))
    return tuple(rows)


def _skill(lived: Sequence[Person], ahead: Sequence[float], release: Release, why: str) -> Section:
    rows = []
    for each in ahead:
        ratios = [_error(one.own[each]) / _still(one.own[each]) for one in lived]
        rows.append(_mean(f"error over that of `it stays as it is`, {_name(each)}", ratios))
        better = [float(ratio < 1) for ratio in ratios if math.isfinite(ratio)]
        if len(better) > 1:
            share = float(np.mean(better))
            name = f"share for whom it is better, {_name(each)}"
            rows.append(Row(name, share, of=len(better), drawn=False))
    return Section("Is it better than `it stays as it is`?", release, why, tuple(rows), origin=1.0)


def _coverage(
    lived: Sequence[Person], ahead: Sequence[float], release: Release, why: str
) -> Section:
    rows = []
    for each in ahead:
        rows.append(
            _share(f"90 % intervals held, {_name(each)}", [one.held[each] for one in lived])
        )
        low = []
        for one in lived:
            said = one.own[each].said
            low.append(one.held[each][said <= np.nanquantile(said, _LOW_SHARE)])
        name = f"held where the answer was in its lowest tenth, {_name(each)}"
        rows.append(_share(name, low))
    return Section("Do its intervals hold?", release, why, tuple(rows), origin=0.9)


def _own_against_first(
    twin: Twin, lived: Sequence[Person], ahead: Sequence[float], release: Release, why: str
) -> Section:
    rows = []
    days = _FIRST[twin.spec.kind] / _DAY
    for each in ahead:
        pairs = [(one.own[each], one.first[each]) for one in lived if one.first]
        name = f"error with all of their own over that with {days:g} days, {_name(each)}"
        rows.append(_mean(name, [_error(own) / _error(first) for own, first in pairs]))
    title = "Is a person's own twin better than one that is hardly theirs?"
    return Section(title, release, why, tuple(rows), origin=1.0)


def _against_starts(
    lived: Sequence[Person],
    ahead: Sequence[float],
    names: Sequence[str],
    release: Release,
    why: str,
) -> Section:
    rows = []
    for other in names[1:]:
        for each in ahead:
            pairs = [
                (one.starts[names[0]][each], one.starts[other][each])
                for one in lived
                if {names[0], other} <= set(one.starts)
            ]
            name = f"error from the start `{names[0]}` over that from `{other}`, {_name(each)}"
            rows.append(_mean(name, [_error(mine) / _error(theirs) for mine, theirs in pairs]))
    if not rows:
        note = "this twin was made from the public start; there is no released one to compare"
        rows = [Row("starts", None, note=note)]
    title = "Is what other hospitals taught any help?"
    return Section(title, release, why, tuple(rows), origin=1.0)


def _changes(
    lived: Sequence[Person], ahead: Sequence[float], release: Release, why: str
) -> Section:
    rows = []
    for each in ahead:
        halves: list[list[float]] = [[], []]
        for one in lived:
            middle = len(one.held[each]) // 2
            early, late = (_part(one.own[each], part) for part in _split(one.own[each], middle))
            halves[0].append(_error(early))
            halves[1].append(_error(late))
        ratios = [late / early for early, late in zip(*halves, strict=True)]
        name = f"error in the newer half over that in the older, {_name(each)}"
        rows.append(_mean(name, ratios))
    return Section("Does it get worse with time?", release, why, tuple(rows), origin=1.0)


def _alarms(covered: Section) -> tuple[str, ...]:
    return tuple(
        f"{row.name}: {row.value:.2f}"
        for row in covered.rows
        if row.value is not None and row.name.startswith("90 %")
        and (row.value if row.high is None else row.high) < _LOWEST_HELD
    )  # fmt: skip


def _split(past: Replay, middle: int) -> tuple[Mask, Mask]:
    rows = np.arange(past.minutes.size)
    return rows < middle, rows >= middle


def _part(past: Replay, rows: Mask) -> Replay:
    return Replay(
        past.minutes[rows], past.said[rows], past.scale[rows], past.seen[rows], past.last[rows]
    )


def _until(series: Series, cut: float) -> Series:
    rows = series.minutes <= cut
    return Series(series.minutes[rows], {name: each[rows] for name, each in series.values.items()})


def _error(past: Replay) -> float:
    return _rms(past.said - past.seen, past)


def _still(past: Replay) -> float:
    return _rms(past.last - past.seen, past)


def _rms(off: Floats, past: Replay) -> float:
    known = np.isfinite(past.said) & np.isfinite(past.seen) & np.isfinite(past.last)
    if not known.any():
        return math.nan
    found = float(np.sqrt(np.mean(off[known] ** 2)))
    return found if found > 0 else math.nan


def _mean(name: str, values: Sequence[float]) -> Row:
    """A mean over people; logarithms, because these are ratios."""
    known = np.log([value for value in values if math.isfinite(value) and value > 0])
    if not known.size:
        return Row(name, None, note="nobody has enough of their own to compare")
    middle = float(known.mean())
    if known.size < 2:
        return Row(name, math.exp(middle), of=1)
    half = _Z95 * float(known.std(ddof=1)) / math.sqrt(known.size)
    low, high = math.exp(middle - half), math.exp(middle + half)
    return Row(name, math.exp(middle), low, high, of=int(known.size))


def _share(name: str, parts: Sequence[Floats]) -> Row:
    middle, low, high, count = coverage.share(list(parts))
    if not count:
        return Row(name, None, note="too little is known for intervals")
    if not math.isfinite(low):
        return Row(name, middle, of=count)
    return Row(name, middle, low, high, of=count)


def _name(minutes: float) -> str:
    if minutes % _DAY == 0:
        return f"{minutes / _DAY:g} d ahead"
    return f"{minutes:g} min ahead"
