"""``twinward twin search`` and ``trial``: what they say, what they enter, when they say nothing."""

import json

import pytest
from click.testing import CliRunner

from hospital_node import audit_log
from hospital_node.twins.cli import twin
from tests.unit.hospital_node.twins.test_twin_commands import (
    RECORD,
    diary,  # noqa: F401 - a fixture
    made,
    node,  # noqa: F401 - a fixture
)


def run(*arguments):
    return CliRunner().invoke(twin, [str(each) for each in arguments])


def test_a_search_compares_with_what_is_planned_and_is_entered(node, diary, tmp_path):  # noqa: F811
    made(node, diary)
    plot = tmp_path / "plans.svg"
    asked = run(
        "search", node, RECORD, "--plan", "bolus=12@0", "--plan", "carbs=15@0",
        "--plot", plot, "--json",
    )  # fmt: skip
    answer = json.loads(asked.stdout)
    assert answer["schema"] == "twinward/twin.search/v1"
    planned, dose, food = answer["plans"]
    assert planned["title"] == "as planned"
    assert planned["gain"] == [0, 0, 0]
    # The diary ends low: insulin makes it worse and food better.
    assert dose["gain"][0] < 0 < food["gain"][0]
    assert dose["worse"] > 0.2 > food["worse"]
    assert sum(plan["best"] for plan in answer["plans"]) == pytest.approx(1, abs=1e-3)
    assert answer["stands_out"] != "bolus=12@0"
    assert "not a recommendation" in answer["use"]
    assert answer["limits"]
    assert plot.read_text().count("<circle") == 3
    assert plot.stat().st_mode & 0o077 == 0
    with audit_log.opened(node) as audit:
        log = audit.log.log
        kinds = [json.loads(log.leaf(seq))["kind"] for seq in range(log.size)]
    assert kinds[-1] == "twin-asked"


def test_nobody_is_searched_for_without_agreement(node):  # noqa: F811
    refused = run("search", node, RECORD, "--plan", "bolus=1@0", "--json")
    assert json.loads(refused.stdout)["error"]["code"] == "TW7122"


def test_the_same_plan_twice_is_refused(node, diary):  # noqa: F811
    made(node, diary)
    refused = run("search", node, RECORD, "--plan", "bolus=1@0", "--plan", "bolus=1@0", "--json")
    assert json.loads(refused.stdout)["error"]["code"] == "TW7140"


def test_a_trial_says_the_same_for_the_same_seed_and_shows_each_group(tmp_path):
    plot = tmp_path / "trial.svg"
    arguments = ("trial", "--people", 60, "--arm", "0@0", "--arm", "1@-20", "--json")
    first = json.loads(run(*arguments, "--plot", plot).stdout)
    assert first == json.loads(run(*arguments).stdout)
    assert first["virtual"]
    usual, none, early = first["plans"]
    assert usual["title"] == "usual dose"
    assert none["gain"][0] < 0 < early["gain"][0]
    assert {*first["groups"]} == {"adolescent", "adult", "child"}
    assert plot.read_text().count("<circle") == 3


@pytest.mark.parametrize("arm", ["much", "-1@0", "9@0", "1@-90", "1@200", "nan@0"])
def test_an_arm_outside_of_what_a_trial_can_look_at_is_refused(arm):
    refused = run("trial", "--arm", arm, "--json")
    assert json.loads(refused.stdout)["error"]["code"] == "TW7141"


def test_a_trial_needs_arms_of_different_names():
    refused = run("trial", "--arm", "0.8@0", "--arm", "0.8@0", "--json")
    assert json.loads(refused.stdout)["error"]["code"] == "TW7140"


def test_a_twin_of_another_folder_is_made_and_asked_by_the_same_commands(node, tmp_path):  # noqa: F811
    history = tmp_path / "pressure.csv"
    lines = [f"{5 * n},{120 + n * 7 % 5},{80 + n % 2},{70 + n % 5},70" for n in range(60)]
    heading = "time,systolic,diastolic,heart_rate,stroke_volume"
    history.write_text("\n".join([heading, *lines]))
    of = (node, RECORD, "--twin", "haemodynamic/1")
    run("agree", node, RECORD)
    assert run("individualise", *of, "--history", history).exit_code == 0
    asked = run("what-if", *of, "--change", "resistance=-20@0", "--hours", "0.5", "--json")
    assert asked.exit_code == 0, (asked.output, asked.exception)
    planned, opened = (row[-1] for row in json.loads(asked.stdout)["middle"])
    assert opened < planned - 5
    searched = run(
        "search", *of, "--plan", "resistance=-20@0", "--hours", "0.5",
        "--low", "90", "--high", "110", "--json",
    )  # fmt: skip
    assert json.loads(searched.stdout)["plans"][1]["gain"][0] > 0


def test_where_nothing_ever_changed_no_plan_stands_out(node, tmp_path):  # noqa: F811
    history = tmp_path / "still.csv"
    heading = "time,systolic,diastolic,heart_rate,stroke_volume"
    history.write_text("\n".join([heading, *(f"{5 * n},120,80,70,70" for n in range(60))]))
    of = (node, RECORD, "--twin", "haemodynamic/1")
    run("agree", node, RECORD)
    run("individualise", *of, "--history", history)
    found = json.loads(
        run("search", *of, "--plan", "resistance=-20@0", "--hours", 0.5, "--json").stdout
    )
    assert found["error_over_persistence"] is None
    assert found["stands_out"] is None
