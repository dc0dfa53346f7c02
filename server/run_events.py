"""What a run tells whoever follows it, as JSON values; none of it is about a single patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from server.transcript import AttemptRecord
from twinward.ids import Fingerprint, OrgName, RunId
from twinward.plan import Plan
from twinward.secsum.messages import fingerprint

Event = dict[str, Any]


def opened(run: RunId, plan: Plan, *, made: int) -> Event:
    """The first event of a run, or of its going on after a stop: then steps were ``made``."""
    return {
        "event": "opened",
        "run": run,
        "study": plan.study,
        "model": plan.model,
        "plan": plan.digest.hex(),
        "hospitals": list(plan.sites),
        "steps": plan.steps,
        "made": made,
        "spare_attempts": plan.spare_attempts,
        "epsilon": plan.epsilon,
        "delta": plan.delta,
        "slot_seconds": plan.slot_seconds,
    }


def seen(attempt: AttemptRecord, plan: Plan, *, name_of: Callable[[Fingerprint], OrgName]) -> Event:
    """What the coordinator received from one hospital, beside the sum: the first words."""
    first, size = attempt.masked[0], plan.word_bits // 8
    places = [slice(i * size, (i + 1) * size) for i in range(min(3, plan.dimension))]
    total = memoryview(attempt.total or b"")
    sums = [int.from_bytes(total[place], "little", signed=True) for place in places]
    vector = first.vector  # large ones are not kept
    return {
        "received_from": name_of(fingerprint(first.sender)),
        "received": [vector[place][::-1].hex() for place in places] if vector else [],
        "sum": [round(value * plan.grid, 2) for value in sums],
    }


def in_short(evaluation: Mapping[str, Any]) -> Event:
    """What is said of an evaluation while the report is still closed."""
    if evaluation["missing"] is not None:
        return {"missing": evaluation["missing"]}
    found = evaluation["figures"]["auroc"]
    names = ("value", "low", "high", "noise_sd")
    return {
        "missing": None,
        "epsilon": evaluation["privacy"]["epsilon"],
        "auroc": None if found is None else {name: round(found[name], 4) for name in names},
    }
