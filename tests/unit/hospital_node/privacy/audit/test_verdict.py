"""False alarms: every attack's p is what it says, so a correct node fails less than 1 in 1,000."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from hospital_node.privacy.audit import canaries, noise_test, one_run, report
from hospital_node.privacy.audit.canaries import Scores
from hospital_node.privacy.audit.report import Audit, Check, Size
from hospital_node.privacy.audit.subject import Claim
from models.cardiac_risk import recipe
from tests.simulators.entropy import known
from twinward.errors import BudgetError
from twinward.plan import Evaluation

UNLIKELY = 1e-6
pytestmark = pytest.mark.usefixtures("same_noise")


def plan_for(members=4, **changes):
    plan = recipe.plan(
        network="00" * 32, study="heart-risk", sites=[f"site-{n}" for n in range(members)],
        divisor=900, purpose="health research", grades=["staff_attested"],
    )  # fmt: skip
    return dataclasses.replace(plan, **changes)


def claim_of(mu):
    return Claim(mu=mu, epsilon=1.0, delta=1e-5, members=4, colluders=1, honest_sd=1.0)


def at_most(hits, trials, rate):
    """Whether so many hits fit a true rate of at most ``rate``."""
    return stats.binom.sf(hits - 1, trials, rate) > UNLIKELY


@pytest.mark.parametrize("mu", [0.268, 3.448])
def test_p_of_a_canary_is_uniform_when_the_whole_claim_is_used(mu):
    rng = np.random.default_rng(1)
    found = [
        canaries.estimate(
            Scores(rng.normal(mu * 7, 7, 60), rng.normal(0, 7, 60)),
            claim=claim_of(mu), confidence=0.99,
        )
        for _ in range(1500)
    ]  # fmt: skip
    assert stats.kstest([each.p for each in found], "uniform").pvalue > UNLIKELY
    assert at_most(sum(each.mu_low > mu for each in found), len(found), 0.01)
    assert np.mean([each.mu_hat for each in found]) == pytest.approx(mu, rel=0.1)


def test_the_bound_on_mu_is_not_idle():
    rng = np.random.default_rng(2)
    scores = Scores(rng.normal(2.0, 1, 1000), rng.normal(0, 1, 1000))
    found = canaries.estimate(scores, claim=claim_of(1.0), confidence=0.999)
    assert 1.7 < found.mu_low < 2.0 < found.mu_hat + 0.3
    assert found.p < 1e-9


def test_silence_only_when_the_patient_is_there_is_an_answer():
    silent, heard = np.full(30, np.inf), np.zeros(30)
    assert (
        canaries.estimate(Scores(silent, heard), claim=claim_of(0.268), confidence=0.999).p < 1e-5
    )
    assert (
        canaries.estimate(Scores(heard, silent), claim=claim_of(0.268), confidence=0.999).p < 1e-5
    )
    both = canaries.estimate(Scores(silent, silent), claim=claim_of(0.268), confidence=0.999)
    assert both.p == 1.0
    assert both.mu_low == 0.0


def test_refusals_as_frequent_as_allowed_are_no_alarm():
    rng, mu, alarms = np.random.default_rng(3), 0.5, 0
    present = stats.norm.cdf(stats.norm.ppf(0.3) + mu)
    for _ in range(500):
        worlds = [np.where(rng.random(80) < rate, np.inf, 0.0) for rate in (present, 0.3)]
        p = canaries.estimate(Scores(*worlds), claim=claim_of(mu), confidence=0.999).p
        alarms += p < 0.01
    assert at_most(alarms, 500, 0.01)


def test_no_noise_at_all_is_certainty():
    one, none = np.ones(30), np.zeros(30)
    assert canaries.estimate(Scores(one, none), claim=claim_of(3.4), confidence=0.999).p == 0.0
    assert canaries.estimate(Scores(none, none), claim=claim_of(3.4), confidence=0.999).p == 1.0


@pytest.mark.parametrize("width", [1, 2, 27])
def test_honest_noise_raises_no_more_alarms_than_it_may(width):
    rng, trials = np.random.default_rng(4), 200
    calls = max(400, 8000 // width)
    alarms = {}
    for _ in range(trials):
        for finding in noise_test.examine(rng.normal(size=(calls, width)), steps_per_unit=1e5):
            alarms[finding.name] = alarms.get(finding.name, 0) + (finding.p < 0.02)
    assert all(at_most(count, trials, 0.02) for count in alarms.values()), alarms


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("width", lambda noise: 0.99 * noise),
        ("shape", lambda noise: np.sign(noise) * 1.02 * np.sqrt(np.abs(noise))),
        ("tails", lambda noise: np.clip(noise, -3.9, 3.9)),
        ("between calls", lambda noise: 1.1 * (noise + 0.1 * np.roll(noise, 1, axis=0))),
        ("between numbers", lambda noise: 1.1 * (noise + 0.1 * np.roll(noise, 1, axis=1))),
        ("repeats", lambda noise: np.concatenate([noise[:-1], -noise[:1]])),
    ],
)
def test_spoilt_noise_is_named(name, spoil):
    noise = spoil(np.random.default_rng(5).normal(size=(15_000, 27)))
    found = {each.name: each.p for each in noise_test.examine(noise, steps_per_unit=1e5)}
    assert found[name] < report.FALSE_ALARM / report._MOST_CHECKS


def test_right_calls_are_as_rare_as_the_bound_says():
    """Against the worst mechanism there is for it: randomised response at exactly epsilon."""
    rng, epsilon, trials = np.random.default_rng(6), 1.0, 4000
    right = rng.binomial(200, 1 / (1 + np.exp(-epsilon)), size=trials)
    p = np.array([one_run.chance(1000, 200, int(v), epsilon=epsilon, delta=1e-9) for v in right])
    for level in (0.3, 0.05, 0.005):
        assert at_most(int((p < level).sum()), trials, level)
    assert (p < 0.05).mean() > 0.01


@pytest.mark.parametrize("members", [3, 4, 64])
def test_an_audit_has_no_more_checks_than_share_the_false_alarms(members):
    plan = plan_for(members, evaluation=Evaluation(0.2, 3.0, 8, 1))
    found = report.audit(plan, size=Size(own=2, magnified=2, hostile=2, draws=400))
    assert sum(check.name.startswith("evaluation: noise") for check in found.checks) == 6
    assert len(found.checks) <= report._MOST_CHECKS
    assert report.FALSE_ALARM < 1e-3


@pytest.mark.slow
def test_a_correct_node_passes_again_and_again():
    small = Size(own=30, magnified=30, hostile=5, draws=60_000)
    for _ in range(6):
        assert report.audit(plan_for(), size=small).passed


@pytest.mark.slow
def test_large_models_are_audited_in_one_run_and_pass():
    plan = plan_for(start_weights=(0.0,) * 4000)
    size = Size(own=30, magnified=30, hostile=4, draws=200_000)
    found = report.audit(plan, size=size, coins=known("coins"))
    assert found.passed
    assert any(check.name.startswith("one run with 1000 canaries") for check in found.checks)


def test_the_gate_names_the_attack_and_stops_the_release():
    fine = Check("a", "nothing", 0.2)
    bad = Check("b", "a patient", 1e-6)
    Audit("00", 1.0, 1e-5, (fine,)).require_passed()
    with pytest.raises(BudgetError) as refusal:
        Audit("00", 1.0, 1e-5, (fine, bad)).require_passed()
    assert refusal.value.code == "TW4400"
    assert "`b`" in str(refusal.value)
    assert "REFUTED" in report.as_text(Audit("00", 1.0, 1e-5, (fine, bad)))
