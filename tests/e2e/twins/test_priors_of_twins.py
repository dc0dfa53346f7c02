"""Where twins start is learnt over the network: one noised sum, released, proved, taken over."""

import math

import pytest

from hospital_node.twins import diary
from models import registry
from models.baseline import made_up
from models.baseline.twin import VITALS
from tests.simulators.network import running_network, twinward

pytestmark = pytest.mark.slow

PEOPLE = 7
STUDIES = {
    "glucose-prior": "glucose_prior/1",
    "glucose-forecast": "glucose_forecast_step/1",
    "vitals-baseline": "vitals_start/1",
}
AGREED = (
    *(word for model in STUDIES.values() for word in ("--model", model)),
    *("--study", "glucose-forecast", "--study", "vitals-baseline"),
    *("--purpose", "diabetes-research", "--purpose", "health-research"),
)
OPTIONS = ("--expected-patients", "60")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    first, *others = STUDIES
    with running_network(
        tmp_path_factory.mktemp("prior"), *OPTIONS,
        study=first, also=tuple(others), agreed=AGREED, diaries=PEOPLE,
    ) as found:  # fmt: skip
        yield found


@pytest.fixture(scope="module")
def runs(network):
    return {study: network.complete_run(study) for study in STUDIES}


@pytest.mark.parametrize("study", STUDIES)
def test_a_prior_is_one_noised_sum_that_anyone_can_add_again(network, runs, study):
    plan, run, prior = network.the_plan(study), runs[study], registry.prior(STUDIES[study])
    assert (plan.attempts, run.release["verified"], run.release["attempts"]) == (1, True, 1)
    assert run.release["evaluation"] is None
    report, card, released = network.evidence(run)
    numbers = prior.names(plan.sites)
    assert f"{len(numbers)} weights recomputed" in next(
        c.detail for c in report.checks if c.name == "model"
    )
    # The card says what it is, what each number is, what it costs and what it must not be used for.
    assert (card["kind"], card["model"], card["title"]) == ("prior", prior.name, prior.title)
    assert (tuple(card["inputs"]), tuple(card["limits"])) == (numbers, prior.limits)
    assert card["privacy"]["epsilon"] == pytest.approx(plan.epsilon, abs=1e-6)
    page = (network.folder / run.release["pack"]).with_name("card.md").read_text()
    assert all(said in page for said in (*numbers, *prior.limits, "starting point, learnt once"))
    # Beyond what 28 people can say at full length there is noise of this width, and no more of it.
    width = plan.max_grad_norm * plan.noise_multiplier * math.sqrt(4 / 3) / plan.divisor
    assert 0 < max(abs(each) for each in released) < plan.max_grad_norm + 6 * width
    # On a busy machine one of four may miss the window in which a run is joined.
    assert len(run.release["members"]) >= 3
    for name in run.release["members"]:
        assert network.book(name)[run.id].marked == 1


def test_a_hospital_takes_it_over_and_its_next_twin_starts_from_it(network, runs):
    run = runs["glucose-prior"]
    pack, release = network.folder / run.release["pack"], run.release["digest"]
    forged = bytearray(pack.read_bytes())
    forged[len(forged) // 2] ^= 1
    (network.folder / "forged.zip").write_bytes(forged)
    status, said = twinward(network.folder, "twin", "adopt", "harbour", "forged.zip")
    assert (status, said["error"]["code"]) == (3, "TW7187")
    assert twinward(network.folder, "twin", "example", "d.csv", "--days", "1")[0] == 0
    assert twinward(network.folder, "twin", "agree", "harbour", "harbour-0001")[0] == 0
    label = []
    for adopted in (False, True):
        if adopted:
            status, said = twinward(network.folder, "twin", "adopt", "harbour", str(pack))
            assert (status, said["release"], said["deployed"]["private"]) == (0, release, True)
        words = ("twin", "individualise", "harbour", "harbour-0001", "--history", "d.csv")
        assert twinward(network.folder, *words)[0] == 0
        status, said = twinward(network.folder, "twin", "what-if", "harbour", "harbour-0001")
        label.append(said["population"])
    assert label[0] == "public"
    assert label[1].startswith(release)


def test_the_next_baseline_starts_from_what_is_usual_of_these_people(network, runs):
    release = runs["vitals-baseline"].release
    readings = made_up.patient(VITALS, made_up.region(VITALS, 1), days=3, seed=99)
    (network.folder / "v.csv").write_text(diary.write(readings))
    assert twinward(network.folder, "twin", "agree", "meadow", "meadow-0001")[0] == 0
    own = ("meadow", "meadow-0001", "--twin", "vitals/1")
    usual = []
    for adopted in (False, True):
        if adopted:
            status, said = twinward(network.folder, "twin", "adopt", "meadow", release["pack"])
            assert (status, said["twin"], said["deployed"]["private"]) == (0, "vitals/1", True)
        assert twinward(network.folder, "twin", "individualise", *own, "--history", "v.csv")[0] == 0
        status, said = twinward(network.folder, "twin", "what-if", *own)
        assert said["population"].startswith(release["digest"] if adopted else "public")
        usual.append(twinward(network.folder, "twin", "alerts", *own))
    assert [status for status, _ in usual] == [0, 0]
    assert usual[0][1]["trends"] != usual[1][1]["trends"]


def test_a_patient_allows_and_ends_their_twin_with_their_own_key(network):
    def call(*words):
        return twinward(network.folder, *words)

    patient = "harbour-0002"
    assert call("twin", "letter", "harbour", patient, "--out", "care.letters")[0] == 0
    assert call("twin", "example", "care.csv", "--days", "1", "--seed", "5")[0] == 0
    make = ("twin", "individualise", "harbour", patient, "--history", "care.csv")
    assert call(*make)[1]["error"]["code"] == "TW7122"
    wallet = ("--wallet", "care-wallet")
    assert call("consent", "grant", *wallet, "--letters", "care.letters", "--all")[0] == 0
    assert call(*make)[0] == 0
    assert call("twin", "what-if", "harbour", patient)[0] == 0
    assert call("consent", "withdraw", *wallet, "--all")[0] == 0
    status, said = call("twin", "what-if", "harbour", patient)
    assert (status, said["error"]["code"]) == (6, "TW7190")
