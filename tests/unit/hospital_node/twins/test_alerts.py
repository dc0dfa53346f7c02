"""``twinward twin alerts`` and its neighbours: at the hospital, entered, and silent outside."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from hospital_node import audit_log, membership
from hospital_node.settings import FILE, NodeSettings, write
from hospital_node.twins import coach_rules, diary
from hospital_node.twins.cli import twin
from models.twin import Series
from tests.simulators.ecg import recording, write_beats, write_record
from tests.simulators.founding import Paper

RECORD = "MRN-0042-8876"
DAYS = 90


@pytest.fixture
def node(tmp_path):
    paper = Paper(tmp_path)
    founding = paper.found()
    folder = paper.members["harbour"].folder
    paper.members["harbour"].founding_file.write_bytes(founding.document.encode())
    assert membership.load_founding(folder)
    write(
        folder / FILE,
        NodeSettings(org="harbour", data=folder / "data", desk_port=9500, flower_port=9501),
    )
    return folder


def run(*arguments, exit_code=0):
    result = CliRunner().invoke(twin, [str(each) for each in arguments])
    assert result.exit_code == exit_code, result.output
    return result


def slept(path, hours, *, first):
    """A diary of one row a day at seven in the morning."""
    minutes = 1440.0 * (first + np.arange(len(hours))) + 420
    path.write_text(diary.write(Series(minutes, {"sleep_hours": np.array(hours, dtype=float)})))
    return path


@pytest.fixture
def watched(node, tmp_path):
    usual = np.random.default_rng(1).normal(7.2, 0.4, DAYS)
    run("agree", node, RECORD)
    history = slept(tmp_path / "usual.csv", usual, first=20_000)
    run("individualise", node, RECORD, "--twin", "wellness/1", "--history", history)
    return node


def observe(node, tmp_path, hours, *, day):
    seen = slept(tmp_path / "seen.csv", hours, first=20_000 + DAYS + day)
    run("observe", node, RECORD, "--twin", "wellness/1", "--history", seen)


def look(node, *more):
    found = run("alerts", node, RECORD, "--twin", "wellness/1", "--json", *more).stdout
    return json.loads(found.splitlines()[-1])


def entered(node):
    with audit_log.opened(node) as audit:
        log = audit.log.log
        return [json.loads(log.leaf(seq))["kind"] for seq in range(log.size)]


def test_one_night_without_sleep_is_an_alert_and_the_look_is_entered(watched, tmp_path):
    observe(watched, tmp_path, [7.1, 1.5, 7.0], day=0)
    found = look(watched)
    assert found["schema"] == "twinward/twin.alerts/v1"
    assert found["moments"] == 3
    (alert,) = found["alerts"]
    assert (alert["quantity"], alert["value"]) == ("sleep_hours", 1.5)
    assert alert["p"] < 0.03
    assert 6.9 < alert["usual"] < 7.5
    assert found["limits"]
    assert entered(watched)[-1] == "twin-alerts"
    text = run("alerts", watched, RECORD, "--twin", "wellness/1").stdout
    assert "1 alerts in 3 moments" in text
    assert "2025-01-" in text
    assert RECORD not in text
    plot = tmp_path / "plot.svg"
    run("alerts", watched, RECORD, "--twin", "wellness/1", "--plot", plot)
    assert plot.read_text().count('class="marked"') == 1
    assert plot.stat().st_mode & 0o077 == 0
    for nothing in ("steps", "mood"):
        drawn = run(
            "alerts", watched, RECORD, "--twin", "wellness/1", "--plot", plot,
            "--quantity", nothing, exit_code=2,
        )  # fmt: skip
        assert "TW7111" in drawn.output


def test_a_coachs_rule_is_evaluated_at_the_node(watched, tmp_path):
    file = tmp_path / "rules.json"
    run("rules", "--example", file)
    assert "2 rules about wellness/1" in run("rules", file).stdout
    observe(watched, tmp_path, [7, 6.2, 6.1, 6.0], day=0)
    short, steps = look(watched, "--rules", file)["rules"]
    assert (short["name"], len(short["held_on"])) == ("short sleep", 1)
    assert 6.4 < short["line"] < 7
    assert short["say"]
    assert (steps["held_on"], steps["say"]) == ([], None)


def test_a_notice_says_nothing_and_goes_only_to_who_asked_once(watched, tmp_path):
    file, out = tmp_path / "rules.json", tmp_path / "out"
    run("rules", "--example", file)
    observe(watched, tmp_path, [5.5, 5.4, 5.6], day=0)
    ask = ("--rules", file, "--notices", out)
    assert not look(watched, *ask)["notice_written"]
    assert not out.exists()
    run("notices", watched, RECORD, "--to", "portal:7731")
    assert look(watched, *ask)["notice_written"]
    assert not look(watched, *ask)["notice_written"]
    (notice,) = out.iterdir()
    assert notice.stat().st_mode & 0o077 == 0
    body = notice.read_text()
    assert json.loads(body)["to"] == "portal:7731"
    for secret in (RECORD, "sleep", "wellness", "5.", "alert"):
        assert secret not in body
        assert secret not in notice.name or secret == "5."
    observe(watched, tmp_path, [5.5], day=3)
    run("notices", watched, RECORD, "--off")
    assert not look(watched, *ask)["notice_written"]
    run("notices", watched, RECORD, "--to", "portal:7731")
    assert look(watched, *ask)["notice_written"]
    kinds = entered(watched)
    assert kinds.count("twin-noticed") == 2
    assert kinds.count("twin-notices") == 3


def test_a_patient_who_gets_steadily_worse_is_told_of_by_the_burden_once(watched, tmp_path):
    run("notices", watched, RECORD, "--to", "portal:7731")
    out = tmp_path / "out"
    observe(watched, tmp_path, [7.2] * 40, day=0)
    assert not look(watched, "--notices", out)["notice_written"]
    worse = 7.0 + 3.0 * np.sin(np.arange(60) * 1.3)
    observe(watched, tmp_path, worse, day=40)
    found = look(watched, "--notices", out)
    assert found["rate"] < 0.15
    assert found["burden"] > 0.3
    assert len(found["burden_rose_at"]) == 1
    assert found["notice_written"]
    observe(watched, tmp_path, worse[:5], day=100)
    assert not look(watched, "--notices", out)["notice_written"]
    assert len(list(out.iterdir())) == 1


def test_nobody_is_looked_at_without_agreement_and_not_every_twin_watches(node, tmp_path):
    assert "TW7122" in run("alerts", node, RECORD, exit_code=6).output
    assert "TW7122" in run("notices", node, RECORD, "--to", "x", exit_code=6).output
    run("agree", node, RECORD)
    assert "TW7123" in run("alerts", node, RECORD, exit_code=1).output
    assert "TW7161" in run("alerts", node, RECORD, "--twin", "glucose/1", exit_code=1).output
    assert "TW7162" in run("notices", node, RECORD, exit_code=2).output
    assert "TW7162" in run("notices", node, RECORD, "--to", "a\nb", exit_code=1).output
    few = slept(tmp_path / "few.csv", [7, 7, 7], first=0)
    made = run("individualise", node, RECORD, "--twin", "wellness/1", "--history", few, exit_code=1)
    assert "TW7159" in made.output


def test_a_baseline_answers_what_comes_and_refuses_what_if(watched):
    refused = run(
        "what-if", watched, RECORD, "--twin", "wellness/1", "--change", "sleep_hours=1@0",
        exit_code=1,
    )  # fmt: skip
    assert "TW7110" in refused.output
    told = run("what-if", watched, RECORD, "--twin", "wellness/1", "--hours", "48", "--json")
    answer = json.loads(told.stdout)
    assert answer["minutes"] == [1440, 2880]
    assert 6.8 < answer["middle"][0][1] < 7.6


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"v": 1', '"v": 2'),
        ('"v": 1', '"v": true'),
        ('"twin": "wellness/1",', ""),
        ('"is": "below"', '"is": "under"'),
        ('"own_percentile": 10', '"own_percentile": 0'),
        ('"own_percentile": 10', '"own_percentile": "10"'),
        ('"own_percentile": 10', '"own_percentile": 10, "value": 5'),
        ('"own_percentile": 10,', ""),
        ('"value": 1500', '"value": 1e9'),
        ('"value": 1500', '"value": NaN'),
        ('"for_days": 3', '"for_days": 3.5'),
        ('"for_days": 3', '"for_days": 0'),
        ('"for_days": 3', '"for_days": 3, "also": 1'),
        ('"quantity": "steps"', '"quantity": "mood"'),
        ("hardly a step", "short sleep"),
        ("]", ""),
    ],
)
def test_rules_are_read_strictly(tmp_path, old, new):
    assert old in coach_rules.EXAMPLE
    file = tmp_path / "rules.json"
    file.write_text(coach_rules.EXAMPLE.replace(old, new))
    assert "TW7160" in run("rules", file, exit_code=2).output


def test_rules_of_another_twin_are_refused(watched, tmp_path):
    file = tmp_path / "rules.json"
    run("rules", "--example", file)
    asked = run("alerts", watched, RECORD, "--twin", "vitals/1", "--rules", file, exit_code=2)
    assert "TW7160" in asked.output
    assert "TW7160" in run("rules", exit_code=2).output


@pytest.mark.parametrize("annotated", [True, False])
def test_a_recording_becomes_a_diary_of_beats_and_a_baseline(node, tmp_path, annotated):
    samples = recording(np.random.default_rng(3), seconds=60)[:2]
    header = write_record(tmp_path / "rec", samples, names=("I", "II"))
    if annotated:
        write_beats(tmp_path / "rec.atr", range(50, 5900, 83), "N" * len(range(50, 5900, 83)))
    file = tmp_path / "beats.csv"
    told = json.loads(run("beats", header, file, "--lead", "II", "--json").stdout.splitlines()[-1])
    assert told["annotated"] == annotated
    assert 50 < told["beats"] < 110
    run("agree", node, RECORD)
    run("individualise", node, RECORD, "--twin", "heartbeat/1", "--history", file)
    assert "No alerts" in run("alerts", node, RECORD, "--twin", "heartbeat/1").stdout
    assert "TW7155" in run("beats", header, file, "--lead", "V9", exit_code=3).output
