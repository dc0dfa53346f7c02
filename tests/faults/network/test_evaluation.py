"""The evaluation in a network of real processes: who dies in it, who cannot pay for it."""

import json
import math

import pytest

from hospital_node.privacy.lifetime import LIFETIME_DELTA
from tests.simulators.network import eventually
from twinward import gdp
from twinward.plan import evaluation_run

pytestmark = pytest.mark.slow


def evaluation_of(network, run):
    folder = network.folder / run.release["folder"]
    return json.loads((folder / "evaluation.json").read_bytes())


def charge(network, name, run):
    return network.book(name)[evaluation_run(bytes.fromhex(run.id)).hex()]


def test_a_run_is_measured_reported_and_charged_to_the_held_out(network):
    run = network.complete_run()
    assert run.release["evaluation"]["missing"] is None
    said = evaluation_of(network, run)
    assert said["privacy"]["attempts_charged"] == dict.fromkeys(network.hospitals, 1)
    folder = network.folder / run.release["folder"]
    assert "Release class" in (folder / "report.html").read_text()
    for name in network.hospitals:
        charged = charge(network, name, run)
        assert (charged.reserved, charged.marked, charged.closed) == (2, 1, 1)
        reports = network.folder / name / "state" / "reports"
        assert [path.name for path in reports.glob(f"{run.id}*")] == [f"{run.id}.html"]
        assert reports.stat().st_mode & 0o077 == 0
        budget = network.status(name)["budget"]
        assert budget["epsilon_spent_if_held_out"] > budget["epsilon_spent"]
    # Reports on single hospitals stay there.
    assert not list((network.folder / "coordinator").rglob("*/reports/*"))


def test_nothing_but_one_more_masked_vector_and_signed_words_left_for_it(network):
    name = network.hospitals[1]
    log = network.folder / name / "state" / "egress.jsonl"
    before = len(log.read_text().splitlines())
    run = network.complete_run()
    left = [json.loads(line) for line in log.read_text().splitlines()[before:]]
    kinds = [(entry["channel"], entry["kind"]) for entry in left if entry["channel"] != "desk"]
    assert kinds.count(("secure-sum", "masked")) == run.release["attempts"] + 1
    assert kinds.count(("secure-sum", "close")) == 2
    assert kinds.count(("flower", "closing")) == 1
    assert kinds.count(("ledger", "reservation")) == 2
    # Co-signatures of blocks go on at all times.
    assert set(kinds) - {("ledger", "co-signature")} == {
        ("secure-sum", "hello"), ("secure-sum", "advertise"), ("secure-sum", "masked"),
        ("secure-sum", "close"), ("flower", "closing"), ("ledger", "reservation"),
        ("ledger", "approval"),
    }  # fmt: skip


def test_a_hospital_killed_before_it_is_measured_leaves_the_model_to_the_others(network):
    victim = network.hospitals[-1]
    run = network.run()
    run.until("evaluating")
    network.kill(victim)
    run.end()
    assert run.release, run.last
    assert run.release["verified"]
    # The model is of four; who died had signed it. The figures are of whoever was left.
    assert sorted(run.release["members"]) == sorted(network.hospitals)
    said = evaluation_of(network, run)
    assert said["missing"] is None
    assert said["privacy"]["fewest_members"] == 3
    for name in set(network.hospitals) - {victim}:
        assert charge(network, name, run).marked in {1, 2}
    network.up(victim)
    assert victim in network.complete_run().release["members"]


def test_held_out_patients_whose_budget_is_gone_are_not_measured_on_again(network):
    """Training goes on: it is others who pay for it. The report says that nothing was measured."""
    poor = network.hospitals[:2]
    network.complete_run()
    for name in poor:
        spent = network.status(name)["budget"]
        held_out, trained = (
            gdp.mu_of(spent[key], LIFETIME_DELTA) ** 2
            for key in ("epsilon_spent_if_held_out", "epsilon_spent")
        )
        limit = held_out + 0.1 * network.the_plan().for_evaluation().mu ** 2
        assert limit > trained + network.the_plan().mu ** 2
        network.stop(name)
        network.set(
            name, lifetime_epsilon=round(gdp.epsilon_of(math.sqrt(limit), LIFETIME_DELTA), 4)
        )
    try:
        network.heal()
        run = network.complete_run()
        assert sorted(run.release["members"]) == sorted(network.hospitals)
        assert run.release["verified"]
        assert "fewer than three hospitals" in run.release["evaluation"]["missing"]
        page = (network.folder / run.release["folder"] / "report.html").read_text()
        assert "Not measured" in page
        for name in poor:
            assert "evaluation left out" in network.log(name)
            assert "TW4100" in network.log(name)
            assert evaluation_run(bytes.fromhex(run.id)).hex() not in network.book(name)
        for name in set(network.hospitals) - set(poor):
            # They had set it aside, sent nothing, and have it back.
            eventually(lambda name=name: charge(network, name, run).closed)
            assert charge(network, name, run).marked == 0
    finally:
        for name in poor:
            network.stop(name)
            network.set(name, lifetime_epsilon=20.0)
