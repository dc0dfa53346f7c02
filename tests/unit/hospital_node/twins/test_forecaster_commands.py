"""The forecaster at the node: asked for the next hour, never for another course of action."""

import json

import pytest
from click.testing import CliRunner

from hospital_node import membership
from hospital_node.settings import FILE, NodeSettings, write
from hospital_node.twins import diary
from hospital_node.twins.cli import twin
from models.glucose import virtual_diary
from models.twin import Series
from tests.simulators.founding import Paper

FORECASTER = ("--twin", "glucose-forecast/1")


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
    whole = virtual_diary.example(days=6, seed=6)
    readings = Series(whole.minutes, {"glucose": whole.values["glucose"]})
    (folder / "readings.csv").write_text(diary.write(readings))
    assert run("agree", folder, "7").exit_code == 0
    made = run("individualise", folder, "7", *FORECASTER, "--history", folder / "readings.csv")
    assert made.exit_code == 0, made.output
    return folder


def run(*arguments):
    return CliRunner().invoke(twin, [str(each) for each in arguments])


def test_it_tells_the_next_hour_with_intervals_and_what_another_dose_would_do_not_at_all(node):
    asked = run("what-if", node, "7", *FORECASTER, "--hours", "1", "--json")
    answer = json.loads(asked.stdout)
    assert answer["minutes"] == [30.0, 60.0]
    assert answer["change"] == []
    assert answer["error_over_persistence"] < 1
    assert all(0.85 < each["share"] < 0.95 for each in answer["coverage"])
    near, far = (high - low for low, high in zip(answer["low"][0], answer["high"][0], strict=True))
    assert 0 < near < far
    refused = run("what-if", node, "7", *FORECASTER, "--hours", "1", "--change", "bolus=1@0")
    assert refused.exit_code == 1
    assert "TW7110" in refused.output
