"""``twinward twin census``: forecasts from a file, what-if where stays are known, refusals."""

import json
from datetime import date, timedelta

import numpy as np
import pytest
from click.testing import CliRunner

from hospital_node.privacy.mechanism import Mechanism
from hospital_node.twins.census_counts import CountsSum
from hospital_node.twins.cli import twin
from models.census import counts
from models.census.stays import DAY
from tests.benchmarks.census import plan_of


@pytest.fixture(scope="module")
def ward(tmp_path_factory):
    path = tmp_path_factory.mktemp("ward") / "ward.csv"
    assert run("example", path, "--days", "200", "--seed", "3").exit_code == 0
    return path


def run(*arguments):
    return CliRunner().invoke(twin, ["census", *(str(each) for each in arguments)])


def asked(*arguments):
    result = run("ask", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_surge_and_a_closed_door_beside_the_plan(ward, tmp_path):
    plot = tmp_path / "fan.svg"
    door = "arrivals=-100@0,arrivals=100@3"
    found = asked(
        ward, "--change", "arrivals=30@0", "--change", door, "--beds", "60", "--plot", plot
    )
    planned, surge, closed = np.array(found["middle"])
    assert (surge > planned).all()
    assert closed[2] < planned[2] - 5
    assert closed[6] > closed[2]
    assert found["scenarios"][2] == door
    risk = found["too_few_beds"]
    assert all(one >= other for one, other in zip(risk[1], risk[0], strict=True))
    assert [each["days"] for each in found["lately"]] == [1, 3, 7]
    assert plot.read_text().count("<polyline") == 3
    assert "patient" in " ".join(found["limits"])


def test_counts_alone_forecast_and_refuse_what_if(tmp_path):
    path = tmp_path / "beds.csv"
    days = [date(2026, 1, 1) + timedelta(n) for n in range(90)]
    rows = [f"{day},{round(300 + 200 * np.sin(n / 12))}" for n, day in enumerate(days)]
    path.write_text("\n".join(["time,beds", *rows]))
    found = asked(path)
    assert found["twin"] == "bed-count/1"
    assert all(each["withheld"] is None for each in found["lately"])
    refused = run("ask", path, "--change", "arrivals=-100@0")
    assert refused.exit_code == 1
    assert "TW7110" in refused.output


def test_a_forecast_that_is_no_help_is_withheld(tmp_path):
    """Counts that jump about the same number: "as today" and a trend both err, the trend more."""
    path = tmp_path / "beds.csv"
    jumps = np.random.default_rng(1).normal(400, 40, 90).round()
    path.write_text(
        "\n".join(["time,beds", *(f"{n * 1440},{beds:g}" for n, beds in enumerate(jumps))])
    )
    found = asked(path)
    assert any(each["withheld"] for each in found["lately"])
    withheld = {each["days"]: each["withheld"] for each in found["lately"]}
    assert (found["middle"][0][0] is None) == (withheld[1] is not None)
    assert "withheld" in run("ask", path).output


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("name,arrived,left\nx,2026-01-01,", "TW7145"),
        ("arrived,left\n2026-01-05,2026-01-01\n", "TW7146"),
        ("arrived,left\nsoon,\n", "TW7146"),
        ("arrived,left\n", "TW7146"),
        ("arrived,left\n2026-01-05,\n", "TW7143"),
        ("time,beds\n0,5\n", "TW7144"),
        ("time,beds\n0,five\n", "TW7131"),
    ],
)
def test_a_file_that_is_wrong_is_refused_and_not_repeated(tmp_path, text, code):
    path = tmp_path / "ward.csv"
    path.write_text(text)
    result = run("ask", path)
    assert result.exit_code != 0
    assert code in result.output
    assert "soon" not in result.output
    assert "five" not in result.output


def test_a_hospital_s_counts_go_through_the_mechanism_of_the_product():
    plan = plan_of(["bern", "chur", "genf"])
    engine = CountsSum([(np.array([4 * DAY]), np.array([2.5]))] * 500)
    assert engine.sensitivity == plan.max_grad_norm
    everyone = np.ones(500, dtype=bool)
    sent = Mechanism(plan).release(engine, np.zeros(counts.WIDTH), everyone, 3)
    sd = sent.guarantee.share_sd
    found = sent.vector * plan.grid
    assert found[[0, 9]] == pytest.approx([500, 500], abs=8 * sd)
    assert not np.array_equal(found, np.round(found))
    nobody = engine(np.zeros(counts.WIDTH), np.zeros(500, dtype=bool))
    assert not nobody.any()
