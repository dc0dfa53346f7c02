"""Compares plans for one patient by the copies of their twin. Research only; nothing leaves.

The search goes through the same door as every question: agreement looked at, entry in the audit
log, courses as uncertain as this patient's own past showed. A twin that is no help for this patient
finds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hospital_node.twins.answer import Told
from hospital_node.twins.service import TwinService
from models import twins
from models.treatment_search import Aim, Found, require_may_be_searched, spread_to_hold, weigh
from models.twin import AS_PLANNED, Scenario
from twinward.ids import RecordNumber


@dataclass(frozen=True, slots=True)
class Searched:
    """What was found, and what it was found from; the twin's limits belong beside it."""

    found: Found
    told: Told


def search(
    service: TwinService,
    record: RecordNumber,
    name: str,
    plans: Sequence[Scenario],
    *,
    aim: Aim,
    horizon_minutes: float,
) -> Searched:
    """How the patient's copies fare under each plan, and whether they agree on one.

    Args:
        service: Of the hospital.
        record: Whose.
        name: Of the twin.
        plans: Beside what is planned, which is always compared.
        aim: What is wanted of a course.
        horizon_minutes: How far to look.

    Raises:
        ConsentError: TW7122, no agreement.
        TwinModelError: TW7110, TW7111, it cannot answer this; TW7123, no twin; TW7140, no plans.
    """
    all_plans = (AS_PLANNED, *plans)
    require_may_be_searched(twins.get(name).spec, all_plans, horizon_minutes=horizon_minutes)
    told = service.courses(record, name, plans, horizon_minutes=horizon_minutes)
    courses = spread_to_hold(told.courses, told.reach)
    found = weigh([plan.title for plan in all_plans], courses, aim)
    if found.stands_out is not None and not told.skill < 1:
        found = replace(
            found,
            stands_out=None,
            reason="this twin is no better for this patient than `it stays as it is`",
        )
    return Searched(found, told)
