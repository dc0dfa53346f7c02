"""Alerts on a patient's own baseline, a coach's rules, and notices that say nothing.

Alerts and rules are computed at the hospital from what was observed, each time they are looked at,
and looking is entered in the audit log. A *notice* is for whoever asked for it: a file for the
hospital's own mail or portal that says that there is something to look at, and holds no patient's
name, no quantity, no number and no twin. Only patients who agreed to notices get one, when a rule
holds or the burden comes to three times the usual one: a patient who gets steadily worse gives no
more alerts than another, but a burden.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hospital_node.twins.service import TwinService
from models import twins
from models.baseline import rules as coach
from models.baseline.alerts import TARGET
from models.baseline.rules import Outcome, Rule
from models.baseline.twin import BaselineTwin, Judged
from models.twin import Floats, Series, TwinSpec
from twinward.errors import TwinModelError
from twinward.files import write_atomic
from twinward.ids import RecordNumber

WORDS = "There is something new to look at. Please open your hospital's own pages."
TOLD_FROM, OVER_BELOW = 3 * TARGET, 2 * TARGET
"""Burden at which a rise is told of, and below which it is over and may be told of again."""

_LONGEST_ADDRESS = 200


@dataclass(frozen=True, slots=True)
class Looked:
    """What has been unusual for one patient. Stays at the hospital.

    Attributes:
        spec: Of the twin; its limits belong beside every alert.
        moments: How many there were after the baseline was learnt.
        alerts: Those beyond what the rate allows, oldest first.
        burden: Share of the last moments beyond the patient's own baseline; .05 is as usual, NaN
            while there are too few.
        highest_burden: The highest there was; NaN likewise.
        rises: Moments at which the burden came to three times the usual one, oldest first.
        trends: Quantity, level now and its change per day.
        outcomes: Of the coach's rules.
        history: All that was observed.
        expected: Level and standard deviation of each reading as before it came, [times, inputs].
    """

    spec: TwinSpec
    moments: int
    alerts: tuple[Judged, ...]
    burden: float
    highest_burden: float
    rises: tuple[float, ...]
    trends: tuple[tuple[str, float, float], ...]
    outcomes: tuple[Outcome, ...]
    history: Series
    expected: tuple[Floats, Floats]

    @property
    def rate(self) -> float:
        """Share of moments with an alert; NaN before the first moment."""
        return len(self.alerts) / self.moments if self.moments else math.nan

    @property
    def newest_to_tell(self) -> float:
        """Newest moment at which the burden rose, or day on which a rule held; -inf if none."""
        held = [moment for outcome in self.outcomes for moment in outcome.held]
        return max([*self.rises, *held], default=-math.inf)


def look(
    service: TwinService, record: RecordNumber, name: str, *, rules: Sequence[Rule] = ()
) -> Looked:
    """Everything that was unusual since the patient's baseline was learnt.

    Raises:
        ConsentError: TW7122, no agreement.
        TwinModelError: TW7115, TW7123, no such twin; TW7161, it watches nothing.
    """
    twin = twins.get(name)
    if not isinstance(twin, BaselineTwin):
        raise TwinModelError(
            f"`{name}` watches over nothing and gives no alerts",
            code="TW7161",
            help=f"use one of: {', '.join(_watching())}",
        )
    kept, history = service.past(record, name, entered="twin-alerts")
    judged = twin.judged(kept.individual, history)
    burdens = [each.seen.burden for each in judged if not math.isnan(each.seen.burden)]
    until = float(kept.individual["until"][0])
    state = kept.state
    return Looked(
        spec=twin.spec,
        moments=len(judged),
        alerts=tuple(each for each in judged if each.seen.alert),
        burden=burdens[-1] if burdens else math.nan,
        highest_burden=max(burdens, default=math.nan),
        rises=_rises(judged),
        trends=tuple(
            (each.name, float(level), float(trend))
            for each, level, trend in zip(
                twin.spec.inputs, state["level"], state["trend"], strict=True
            )
        ),
        outcomes=tuple(coach.judge(rule, history, until=until) for rule in rules),
        history=history,
        expected=twin.expected(kept.individual, history),
    )


def agree_to_notices(service: TwinService, record: RecordNumber, to: str) -> None:
    """Send notices of this patient there from now on, or nowhere.

    Raises:
        ConsentError: TW7122, no agreement to a twin.
        TwinModelError: TW7162, this is no address.
    """
    if not (to.isprintable() and to == to.strip() and len(to) <= _LONGEST_ADDRESS):
        raise TwinModelError(
            "this is no address that a notice can be sent to",
            code="TW7162",
            help="give what the hospital's own mail or portal knows the person by, in one line",
        )
    service.note_care(record, {"notices": to}, entered="twin-notices")


def write_notice(
    service: TwinService, record: RecordNumber, looked: Looked, folder: Path, *, name: str
) -> bool:
    """Write a notice if there is something that was not told and the patient asked for notices.

    Dying in between, the same notice is written again next time, and none is lost.

    Args:
        service: Of the hospital.
        record: Whose.
        looked: What was unusual.
        folder: Where the hospital's own mail or portal takes notices from.
        name: Of the file; chance, so that it tells nothing.

    Raises:
        ConsentError: TW7122, no agreement.
    """
    care, newest = service.care(record), looked.newest_to_tell
    if not care.get("notices") or newest <= float(care.get(_told(looked), "-inf")):
        return False
    body = json.dumps({"v": 1, "to": care["notices"], "text": WORDS}, sort_keys=True)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(folder / f"{name}.json", body.encode(), mode=0o600)
    service.note_care(record, {_told(looked): repr(newest)}, entered="twin-noticed")
    return True


def _rises(judged: Sequence[Judged]) -> tuple[float, ...]:
    high, found = False, []
    for each in judged:
        if each.seen.burden >= TOLD_FROM and not high:
            found.append(each.minutes)
        high = each.seen.burden >= (OVER_BELOW if high else TOLD_FROM)
    return tuple(found)


def _told(looked: Looked) -> str:
    return f"told:{looked.spec.name}"


def _watching() -> list[str]:
    return [name for name in twins.names() if isinstance(twins.get(name), BaselineTwin)]
