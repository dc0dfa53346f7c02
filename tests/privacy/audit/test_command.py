"""``twinward privacy``: what a person types, what they are told, and the exit status."""

import json
import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner

from hospital_node.data import virtual
from hospital_node.privacy.audit import report
from hospital_node.privacy.audit.report import Audit, Check
from hospital_node.privacy.cli import privacy
from models.cardiac_risk import recipe

pytestmark = pytest.mark.usefixtures("same_noise")


@pytest.fixture
def plan_file(tmp_path):
    plan = recipe.plan(
        network="00" * 32, study="heart-risk", sites=["north", "east", "south", "west"],
        divisor=900, purpose="health research", grades=["staff_attested"],
    )  # fmt: skip
    path = tmp_path / "plan.json"
    path.write_bytes(plan.to_document().encode())
    return path


def run(*words):
    return CliRunner().invoke(privacy, [str(word) for word in words])


def test_a_quick_audit_of_the_installed_code_passes_and_reads_no_record(plan_file):
    done = run("audit", plan_file, "--quick", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["schema"] == "twinward/privacy.audit/v1"
    assert found["passed"]
    assert found["confidence_of_a_refutation"] > 0.999
    assert len(found["checks"]) == 26


def test_a_refuted_claim_ends_with_the_status_of_a_failed_check(plan_file, monkeypatch):
    refuted = Audit("ab" * 32, 1.0, 1e-5, (Check("noise: width", "0.5", 0.0),))
    monkeypatch.setattr(report, "audit", lambda plan, size: refuted)
    done = run("audit", plan_file)
    assert done.exit_code == 3
    assert "REFUTED" in done.stdout
    assert "Next:" not in done.output


def test_a_statement_in_words_as_a_picture_and_for_nist(plan_file, tmp_path):
    picture = tmp_path / "privacy.svg"
    done = run("statement", plan_file, "--svg", picture)
    assert done.exit_code == 0, done.output
    assert "56 times in 100" in done.stdout
    ET.parse(picture)
    considered = json.loads(run("statement", plan_file, "--nist").stdout)["nist_sp_800_226"]
    assert considered["guarantee"]["epsilon"] == 1


def test_membership_is_not_inferred_from_a_hospitals_own_file(plan_file, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    virtual.write(folder)
    done = run("membership", folder, "--plan", plan_file)
    assert done.exit_code == 3
    assert "TW4401" in done.output


def test_a_file_that_is_no_plan_is_refused(tmp_path):
    wrong = tmp_path / "plan.json"
    wrong.write_text("{}")
    assert run("audit", wrong).exit_code in {2, 4}
