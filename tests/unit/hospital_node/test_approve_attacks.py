"""A hospital approves a plan only after the code that would run it withstood attacks."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from hospital_node import policy_file
from hospital_node.cli import node
from hospital_node.data import virtual
from hospital_node.privacy.audit import report
from hospital_node.privacy.audit.report import Audit, Check
from hospital_node.settings import FILE, NodeSettings, write
from tests.unit.hospital_node.test_approvals import World


@pytest.fixture
def asked(tmp_path):
    return asks(World(tmp_path), tmp_path)


def asks(world, tmp_path):
    study, plan = tmp_path / "study.json", tmp_path / "plan.json"
    for path, content in zip((study, plan), world.files(), strict=True):
        path.write_bytes(content)
    world.paper.members["harbour"].founding_file.write_bytes(world.founding.document.encode())
    settings = NodeSettings(
        org="harbour", data=world.folder / "data", desk_port=9500, flower_port=9501
    )
    write(world.folder / FILE, settings)
    policy_file.write(world.folder, world.policy())
    made_up = virtual.write(tmp_path / "data", seed=1)["harbour"]
    settings.data.write_bytes(made_up.read_bytes())
    return world.folder, study, plan


def approve(asked, *options):
    done = CliRunner().invoke(node, ["approve", *map(str, asked), *options, "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_the_code_that_hospitals_run_withstands(asked):
    status, answer = approve(asked)
    assert status == 0, answer
    assert answer["attacked"] is True


def test_a_claim_that_an_attack_refutes_is_not_approved(asked, monkeypatch):
    def refuted(plan, *, size):
        del size
        check = Check("game: loud", "told apart in 990 of 1000", 1e-30)
        return Audit(plan.digest.hex(), plan.epsilon, plan.delta, (check,))

    monkeypatch.setattr(report, "audit", refuted)
    status, answer = approve(asked)
    assert status != 0
    assert answer["error"]["code"] == "TW4400", answer
    again, answer = approve(asked, "--no-attack")
    assert again == 0
    assert answer["attacked"] is False


def test_who_approves_sees_what_patients_may_leave_out(asked):
    status, answer = approve(asked, "--no-attack")
    assert status == 0, answer
    assert answer["optional"]["blood pressure and blood tests"] == ["trestbps", "chol", "fbs"]
    said = CliRunner().invoke(node, ["approve", *map(str, asked), "--no-attack"]).output
    shown = said.index(
        "can leave out, with the columns of it:\n  blood pressure and blood tests: tr"
    )
    assert shown < said.index("approved `heart-risk`")


def test_who_approves_sees_that_patients_can_leave_nothing_out(tmp_path):
    world = World(tmp_path)
    world.study = replace(world.study, optional=())
    status, answer = approve(asks(world, tmp_path), "--no-attack")
    assert (status, answer["optional"]) == (0, {})
