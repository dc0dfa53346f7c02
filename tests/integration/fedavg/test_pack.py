"""A released run of local training: recomputed offline, and its card tells the mode."""

import dataclasses
import json

import pytest

from ledger import verify
from server.model_card import CardTexts
from server.release import release
from tests.simulators.finished_run import NoLedger, finished_run
from twinward.errors import EvidenceError
from twinward.plan import Evaluation, FedAvg

LOCAL = FedAvg(
    local_steps=5, local_learning_rate=0.2, proximal=0.1, max_update_norm=2.0, momentum=0.5
)
TEXTS = CardTexts(
    title="Risk", kind="risk", intended_use="Research.", limits=("None.",), hyper_parameters="Said."
)


def released(folder, **changed):
    return publish(folder, finished_run(folder, fedavg=LOCAL, **changed))


def publish(folder, run):
    made = release(
        folder / "release", transcript=run.transcript, evaluation=run.evaluation,
        founding=run.founding, plan=run.plan_document, order=run.order, names=("a", "b", "c"),
        texts=TEXTS, identity=run.coordinator, ledger=NoLedger(),
    )  # fmt: skip
    run.transcript.close()
    return made


@pytest.mark.parametrize("evaluation", [None, Evaluation(0.2, 3.0, 8, 1)], ids=["plain", "tested"])
def test_it_verifies_with_momentum_and_a_lost_hospital(tmp_path, evaluation):
    made = released(tmp_path, evaluation=evaluation)
    report = verify.verify(made.pack)
    assert report.ok, report.faults
    assert ("figures" in [check.name for check in report.checks]) == (evaluation is not None)


def test_the_card_says_that_hiding_is_not_noise(tmp_path):
    made = released(tmp_path)
    card = json.loads(made.card.with_suffix(".json").read_bytes())
    assert card["mode"] == "fedavg"
    assert card["privacy"]["releases_per_attempt"] == 5
    assert card["privacy"]["fewest_honest_shares"] == 1
    text = made.card.read_text()
    assert "the secure sum reduces none of it" in text
    assert "Noised sums over patients per attempt: 5" in text
    assert "how its own copy of the model changed" in text


def test_a_sum_that_is_not_the_plans_robust_rule_is_found(tmp_path):
    """The simulator adds, as a coordinator would that was told to trim."""
    robust = dataclasses.replace(LOCAL, visible_updates=True, rule="trimmed_mean", hostile=1)
    run = finished_run(tmp_path, fedavg=robust)
    with pytest.raises(EvidenceError, match="vectors together do not give the sum"):
        publish(tmp_path, run)


@pytest.mark.parametrize("momentum", [0.0, 0.25])
def test_other_momentum_than_the_plans_is_another_model(tmp_path, monkeypatch, momentum):
    """A verifier that forgot the momentum, or took another, would notice: the test of the test."""
    made = released(tmp_path)
    real = verify.take_step

    def other(plan, *rest):
        return real({**plan, "fedavg": {**plan["fedavg"], "momentum": momentum}}, *rest)

    monkeypatch.setattr(verify, "take_step", other)
    report = verify.verify(made.pack)
    assert [fault.code for fault in report.faults] == ["V061"]
