"""The statement says the same numbers in words, as a picture and by NIST's list, none too good."""

import dataclasses
import json
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from hospital_node.privacy import statement
from hospital_node.privacy.audit.report import audit
from hospital_node.privacy.statement import of_plan
from models.cardiac_risk import recipe
from twinward import canonical
from twinward.errors import BudgetError
from twinward.plan import Evaluation, FedAvg
from twinward.statement import right_guesses


def plan_for(members=4, epsilon=1.0):
    return recipe.plan(
        network="00" * 32, study="heart-risk", sites=[f"site-{n}" for n in range(members)],
        divisor=900, purpose="health research", grades=["staff_attested"], epsilon=epsilon,
    )  # fmt: skip


def test_no_guess_against_gaussian_noise_is_better_than_stated():
    rng, mu = np.random.default_rng(0), 0.7
    took_part = rng.random(400_000) < 0.5
    seen = rng.normal(size=took_part.size) + mu * took_part
    right = 100 * ((seen > mu / 2) == took_part).mean()
    assert right_guesses(mu) == pytest.approx(right, abs=0.4)
    assert right_guesses(0.0) == 50.0
    assert right_guesses(50.0) == pytest.approx(100.0)


def test_words_name_the_worst_adversary_and_round_against_us():
    words = " ".join(of_plan(plan_for()).words())
    assert right_guesses(0.268051) == pytest.approx(55.331, abs=0.01)
    assert "right at most 56 times in 100" in words
    assert "have one hospital on their side" in words
    assert "at most 14% of what your hospital allows" in words
    assert "have 10 hospitals on their side" in " ".join(of_plan(plan_for(30)).words())


@pytest.mark.parametrize("members", [3, 4, 30])
@pytest.mark.parametrize("epsilon", [0.5, 8.0])
def test_the_picture_stands_alone_and_keeps_within_its_frame(members, epsilon):
    svg = of_plan(plan_for(members, epsilon)).svg()
    root = ET.fromstring(svg)
    name = "{http://www.w3.org/2000/svg}"
    assert root.find(f"{name}title").text
    assert "in 100" in root.find(f"{name}desc").text
    assert "script" not in svg
    assert svg.count("http") == 1
    for bar in root.iter(f"{name}rect"):
        assert 0 <= float(bar.get("width")) <= 640
        assert float(bar.get("x", 0)) + float(bar.get("width")) <= 640


def test_a_hostile_name_does_not_leave_its_text():
    made = of_plan(plan_for())
    hostile = dict(made.plan, study='"><script>alert(1)</script>')
    svg = dataclasses.replace(made, plan=hostile).svg()
    assert "<script" not in svg
    ET.fromstring(svg)


def test_every_level_of_the_pyramid_is_answered_and_is_canonical_json():
    made = of_plan(plan_for())
    found = json.loads(canonical.encode(made.as_json()))
    considerations = found["nist_sp_800_226"]
    assert considerations["guarantee"]["epsilon"] == 1
    assert considerations["guarantee"]["unit_of_privacy"].startswith("a patient at one hospital")
    assert set(considerations) == {
        "source", "guarantee", "algorithm", "utility_and_bias", "implementation", "trust",
        "access_and_security", "data_collection_exposure", "hazards_not_covered",
    }  # fmt: skip
    assert considerations["trust"]["adversaries"] == {
        who: {"mu": pytest.approx(entry["mu"]), "epsilon": pytest.approx(entry["epsilon"])}
        for who, entry in made.privacy["adversaries"].items()
    }


def test_nothing_is_stated_when_mechanism_and_verifier_disagree(monkeypatch):
    class Optimist(statement.Mechanism):
        def guarantee(self, members):
            honest = super().guarantee(members)
            return dataclasses.replace(honest, share_sd=0.9 * honest.share_sd)

    monkeypatch.setattr(statement, "Mechanism", Optimist)
    with pytest.raises(BudgetError) as refusal:
        of_plan(plan_for())
    assert refusal.value.code == "TW4402"


def test_a_smaller_network_says_what_it_loses():
    assert of_plan(plan_for(4), members=3).privacy["fewest_honest_shares"] == 2


def test_patients_who_test_the_model_are_told_their_own_price():
    """Evaluation at epsilon 3 costs them more than training costs the others; nothing hides it."""
    plan = dataclasses.replace(plan_for(), evaluation=Evaluation(0.2, 3.0, 8, 1))
    made = of_plan(plan)
    assert made.held_out["epsilon"] == pytest.approx(3.0, rel=1e-6)
    words = " ".join(made.words())
    assert "20% of the patients, drawn by lot" in words
    assert f"at most {int(right_guesses(made.held_out['mu'])) + 1} in 100" in words
    assert made.share_of_lifetime == pytest.approx(1.0, rel=1e-6)
    assert "who tests the model" in made.svg()
    assert made.nist()["guarantee"]["patient_held_out_for_evaluation"] == made.held_out
    assert of_plan(plan_for()).held_out is None


LOCAL = FedAvg(5, 0.2, 0.1, 2.0, 0.3)


def test_another_mode_is_not_audited():
    with pytest.raises(BudgetError) as refusal:
        audit(dataclasses.replace(plan_for(), aggregate="fedavg", fedavg=LOCAL))
    assert refusal.value.code == "TW4403"


def test_local_training_is_stated_with_all_of_the_noise_at_each_hospital():
    plan = dataclasses.replace(plan_for(), aggregate="fedavg", fedavg=LOCAL)
    made, summed = of_plan(plan), of_plan(plan_for())
    assert made.privacy["epsilon"] == summed.privacy["epsilon"]
    # five noised sums per attempt, none of them blurred by anyone else
    noise = made.privacy["noise_multiplier"] / summed.privacy["noise_multiplier"]
    assert noise == pytest.approx(math.sqrt(5))
    assert {one["mu"] for one in made.privacy["adversaries"].values()} == {made.privacy["mu"]}
    assert "how its own copy of the model changed" in made.words()[0]
    others = f"{len(plan.sites) - 1} hospitals on their side"
    assert others in made.words()[1]
    assert "does not reduce the noise" in made.nist()["trust"]["model"]
    assert made.nist()["algorithm"]["releases_per_attempt"] == 5
