"""A Poisson sample: independent, with the stated chance, fresh at every call, and nobody else."""

import math

import numpy as np
import pytest
from scipy import stats

from hospital_node.privacy.sampler import draw

pytestmark = pytest.mark.usefixtures("same_noise")
FALSE_ALARM = 1e-6
ROWS = 200_000


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.5, 0.9])
def test_each_patient_is_drawn_with_the_stated_chance(rate):
    drawn = draw(np.ones(ROWS, dtype=bool), rate=rate)
    assert stats.binomtest(int(drawn.sum()), ROWS, rate).pvalue > FALSE_ALARM


def test_the_number_drawn_is_not_fixed():
    """A batch of a fixed size would not be a Poisson sample and would have another price."""
    sizes = np.array([draw(np.ones(1000, dtype=bool), rate=0.3).sum() for _ in range(2000)])
    spread = sizes.var(ddof=1) / (1000 * 0.3 * 0.7)
    assert FALSE_ALARM < stats.chi2.cdf(spread * (sizes.size - 1), sizes.size - 1) < 1 - FALSE_ALARM


def test_neighbouring_patients_and_successive_attempts_are_independent():
    first, second = (draw(np.ones(ROWS, dtype=bool), rate=0.3) for _ in range(2))
    for a, b in ((first[:-1], first[1:]), (first, second)):
        together = int((a & b).sum())
        assert stats.binomtest(together, a.size, 0.09).pvalue > FALSE_ALARM


def test_nobody_is_drawn_who_does_not_permit_it():
    permitted = np.arange(ROWS) % 3 == 0
    drawn = draw(permitted, rate=0.7)
    assert not (drawn & ~permitted).any()
    assert drawn.any()


def test_at_rate_one_it_is_everyone_and_no_randomness_is_asked_for():
    permitted = np.arange(50) % 2 == 0

    def none(count):
        raise AssertionError

    assert np.array_equal(draw(permitted, rate=1.0, entropy_for_tests_only=none), permitted)


def test_every_call_takes_a_fresh_key():
    asked = []

    def entropy(count):
        asked.append(count)
        return bytes([len(asked)]) * count

    everyone = np.ones(64, dtype=bool)
    first = draw(everyone, rate=0.5, entropy_for_tests_only=entropy)
    second = draw(everyone, rate=0.5, entropy_for_tests_only=entropy)
    assert asked == [32, 32]
    assert not np.array_equal(first, second)


def test_the_chance_is_never_more_than_was_paid_for():
    for rate in (1e-4, 0.1, 1 / 3, math.nextafter(1.0, 0.0)):
        assert int(rate * 2.0**64) <= rate * 2**64 < 2**64
