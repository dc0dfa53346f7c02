"""``twinward twin census``: forecasts from a file, what-if where stays are known, refusals."""

import json
from datetime import date, timedelta

import numpy as np
import pytest
from click.testing import CliRunner

from hospital_node.data import records
from hospital_node.twins.cli import twin
from models import registry
from twinward.errors import DataError


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
        ("record,arrived,left\n,2026-01-01,\n", "TW7146"),
        ("record,arrived,left\nsoon,2026-01-01\n", "TW7146"),
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


def test_the_same_table_with_record_numbers_is_a_hospital_s_data(ward, tmp_path):
    path = tmp_path / "admissions.csv"
    assert run("example", path, "--days", "200", "--seed", "3", "--records").exit_code == 0
    assert asked(path)["middle"] == asked(ward)["middle"]
    found = records.read(path, hospital="harbour")
    lines = path.read_text().splitlines()[1:]
    assert set(found.records) == {line.split(",")[0] for line in lines}
    prior = registry.prior("ward_counts/1")
    assert records.histories(found, prior) is found
    said = found.vectors(prior)
    again = {line.split(",")[0] for line in lines[6::7]}
    twice = np.array([record in again for record in found.records])
    assert twice.sum() > 50
    ended = said.any(axis=1)
    # One admission is a weekday and a stay; of two as much goes out as of one.
    np.testing.assert_allclose(np.linalg.norm(said[ended], axis=1), prior.length)
    once = said[~twice & ended]
    assert set(np.unique(once)) == {0.0, 1.0}
    assert (once[:, :7].sum(axis=1) == 1).all()
    # Who leaves changes nobody else's numbers.
    path.write_text("\n".join(["record,arrived,left", *lines[1:]]))
    fewer = records.read(path, hospital="harbour")
    at = fewer.records.index(found.records[5])
    np.testing.assert_array_equal(fewer.vectors(prior)[at], said[5])


def test_a_table_of_admissions_is_no_data_for_another_study(tmp_path):
    path = tmp_path / "admissions.csv"
    path.write_text("record,arrived,left\na,2026-01-01,2026-01-03\n")
    found = records.read(path, hospital="harbour")
    for prior in ("glucose_prior/1", "vitals_start/1"):
        with pytest.raises(DataError) as refusal:
            records.histories(found, registry.prior(prior))
        assert refusal.value.code == "TW7137"
    path.write_bytes(b"record,arrived,left\n\xff,2026-01-01,\n")
    with pytest.raises(DataError) as refusal:
        records.read(path, hospital="harbour")
    assert refusal.value.code == "TW7136"
