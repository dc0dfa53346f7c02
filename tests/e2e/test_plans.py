"""A hospital runs the plan that it approved, within its own limits, and no other."""

import dataclasses

import pytest

from tests.simulators.network import COORDINATOR, STUDY, eventually, twinward
from twinward.errors import TwinwardError
from twinward.organisation import Organisation
from twinward.signing import Identity

pytestmark = pytest.mark.slow


def signed_plan(network, path, **changed):
    """Another plan of the same study, signed by the coordinator; its path below the network."""
    plan = dataclasses.replace(network.the_plan(), **changed)
    identity = Organisation(network.folder / COORDINATOR).identity()
    (network.folder / path).write_bytes(plan.to_document().signed_by(identity).encode())
    return path


def refused(network, name, opening):
    before = network.book(name)
    with pytest.raises(TwinwardError) as error:
        network.open_run(name, opening)
    assert network.book(name) == before
    return error.value


def doctor(network, name):
    """What `node doctor` finds wrong while the node is up: status and code of each fault."""
    status, answer = twinward(network.folder, "node", "doctor", name)
    return status, {
        one["check"]: one["code"] for one in answer["checks"] if one["result"] == "fault"
    }


def test_a_second_plan_of_the_study_with_another_hash_is_refused(network):
    name = network.hospitals[0]
    path = signed_plan(network, "second.json", learning_rate=0.5)
    error = refused(network, name, network.opening(plan=path))
    assert error.code == "TW6007"
    assert "approve" in error.diagnostic.help


def test_a_study_that_nobody_approved_here_is_refused(network):
    name = network.hospitals[0]
    path = signed_plan(network, "unknown.json", study="other-study")
    assert refused(network, name, network.opening(plan=path)).code == "TW6004"


@pytest.mark.parametrize(
    ("changed", "limit"),
    [({"epsilon": 1.5}, "max_epsilon"), ({"steps": 98, "averaged_steps": 10}, "max_steps")],
    ids=["epsilon", "steps"],
)
def test_a_plan_beyond_the_hospitals_limits_is_not_approved(network, changed, limit):
    name = network.hospitals[0]
    path = signed_plan(network, f"{limit}.json", **changed)
    study = f"{COORDINATOR}/studies/{STUDY}/study.json"
    kept = (network.folder / name / "studies" / STUDY / "plan.json").read_bytes()
    status, answer = twinward(network.folder, "node", "approve", name, study, path)
    assert status == 1
    assert answer["error"]["code"] == "TW6003"
    assert limit in answer["error"]["message"]
    assert (network.folder / name / "studies" / STUDY / "plan.json").read_bytes() == kept


def test_a_limit_that_the_hospital_lowers_stops_the_plan_without_a_restart(network):
    name = network.hospitals[3]
    network.set(name, max_epsilon=0.5)
    try:
        assert refused(network, name, network.opening()).code == "TW6003"
        run = network.complete_run()
        assert name not in run.release["members"]
    finally:
        network.set(name, max_epsilon=1.0)


def test_a_policy_that_breaks_in_a_run_ends_it_here_and_the_status_says_so(network):
    name = network.hospitals[2]
    path = network.folder / name / "policy.toml"
    sound = path.read_text()
    run = network.run()
    run.until("step", step=3)
    path.write_text(sound.replace("take_part", "takes_part"))
    try:
        run.end()
        status = network.status(name)
        assert status["policy"]["trouble"]["code"] == "TW7301"
        assert not status["healthy"]
        (charged,) = (each for of, each in network.book(name).items() if of == run.id)
        assert 3 <= charged.marked < charged.reserved
        assert "TW7301" in network.log(name)
        assert doctor(network, name) == (3, {"policy": "TW7301", "node: policy": "TW7301"})
    finally:
        path.write_text(sound)
    assert network.status(name)["policy"]["trouble"] is None
    assert doctor(network, name) == (0, {})
    assert refused(network, name, network.opening(signer=Identity.generate())).code == "TW2004"


def test_a_plan_that_another_member_signed_is_not_approved(network):
    name, other = network.hospitals[:2]
    plan = network.the_plan()
    path = network.folder / "forged.json"
    identity = Organisation(network.folder / other).identity()
    path.write_bytes(plan.to_document().signed_by(identity).encode())
    study = f"{COORDINATOR}/studies/{STUDY}/study.json"
    status, answer = twinward(network.folder, "node", "approve", name, study, "forged.json")
    assert (status, answer["error"]["code"]) == (4, "TW2004")


def test_two_runs_at_once_are_refused_by_the_coordinator(network):
    first = network.run()
    first.until("opened")
    second = network.run().end()
    assert second.error["code"] == "TW6010"
    assert first.end().release, first.last
    eventually(lambda: all(network.status(n)["running"] is None for n in network.hospitals))
