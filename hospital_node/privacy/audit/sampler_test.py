"""The sampler, looked at directly: independent draws, at no more than the rate that is paid for.

The price of a sampled plan rests on Poisson sampling. Batches of a fixed size, passes over shuffled
data or one sample used twice have other prices, and a canary needs thousands of trainings to feel
the difference; an auditor inside sees who is drawn, and counts. All counts are of independent
events, so every p is exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hospital_node.privacy.audit.noise_test import NoiseFinding
from hospital_node.privacy.audit.subject import Known, Subject
from twinward.plan import Plan

Events = NDArray[np.bool_]

_PERMITTED = 8
"""Few, because a batch of a fixed size then ties its members to each other visibly."""


def examine(subject: Subject, plan: Plan, *, calls: int) -> tuple[NoiseFinding, ...]:
    """All questions to who is drawn in this many attempts."""
    rate, node = plan.sample_rate, subject.mechanism(plan)
    watched = Known(np.zeros(plan.dimension), plan.max_grad_norm, 2 * _PERMITTED)
    permitted = np.arange(2 * _PERMITTED) % 2 == 0
    for _ in range(calls):
        node.release(watched, plan.start, permitted, len(plan.sites))
    drawn: Events = np.array(watched.drawn)
    intruders = int(drawn[:, ~permitted].sum())
    drawn = drawn[:, permitted]
    twice = "drawn twice running, of what chance gives"
    even, odd = (drawn[first : first + calls // 2 * 2 - 2] for first in (0, 1))
    return (
        NoiseFinding(
            "permission", float(intruders), float(intruders == 0), "draws of who does not permit it"
        ),
        NoiseFinding(
            "rate",
            float(drawn.mean() / rate),
            float(stats.binom.sf(int(drawn.sum()) - 1, drawn.size, rate)),
            "share drawn, of the rate that is paid for",
        ),
        _chance("attempts 1 and 2, 3 and 4 ...", even[::2] & even[1::2], rate**2, twice),
        _chance("attempts 2 and 3, 4 and 5 ...", odd[::2] & odd[1::2], rate**2, twice),
        _chance(
            "two patients", drawn[:, ::2] & drawn[:, 1::2], rate**2, "drawn together, likewise"
        ),
    )


def _chance(name: str, events: Events, rate: float, meaning: str) -> NoiseFinding:
    """Whether so many events fit the rate, too few or too many."""
    seen = int(events.sum())
    sides = (
        stats.binom.cdf(seen, events.size, rate),
        stats.binom.sf(seen - 1, events.size, rate),
    )
    return NoiseFinding(name, float(events.mean() / rate), min(1.0, 2.0 * min(sides)), meaning)
