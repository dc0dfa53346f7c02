"""Validation reports: exact figures stay, what leaves is bound to the whole, changes alarm."""

import dataclasses
import json
import os

import numpy as np
import pytest
from click.testing import CliRunner

from hospital_node.privacy import experiment
from hospital_node.twins import validation, validation_page, validation_risk, validation_twin
from hospital_node.twins.cli import twin
from hospital_node.twins.validation import Release, Row, Section
from hospital_node.twins.validation_files import DAY, Reports
from models import registry
from models.cardiac_risk import made_up, recipe
from models.haemodynamic.twin import HaemodynamicTwin
from models.twin import Series
from twinward import canonical
from twinward.errors import EvidenceError, IdentityError, UsageError
from twinward.signing import Identity

SITES = ("harbour", "meadow", "summit", "station")
PLAN = recipe.plan(
    network="0" * 64, study="heart-risk", sites=SITES, divisor=600, purpose="heart-research",
    grades=("signed-on-device",), evaluation=recipe.EVALUATION,
)  # fmt: skip
HAEMODYNAMIC = HaemodynamicTwin()
EXACT = Section("Exact", Release.STAYS, "here", (Row("AUROC", 0.8125, 0.7, 0.9, of=31),))
OPEN = Section("Open", Release.PUBLIC, "nobody", (Row("method", 0.5), Row("none", float("nan"))))
ABOUT = {
    "org": "harbour", "made_at": "2026-11-21T09:00:00Z", "kind": "risk",
    "subject": "cardiac_risk/1", "title": "Risk", "intended_use": "tests", "limits": ["none"],
    "release": None,
}  # fmt: skip


def sealed(*sections, identity=None):
    return validation.seal(
        sections or (EXACT, OPEN), about=ABOUT, identity=identity or Identity.generate(),
        entropy=os.urandom,
    )  # fmt: skip


def measured(*, org="harbour", people=slice(0, 140), older=0.0, tilt=1.0, sites=PLAN.sites):
    plan = dataclasses.replace(PLAN, sites=sites)
    model = registry.risk(plan.model)
    plan = dataclasses.replace(plan, model_spec=model.spec(sites))
    plan = dataclasses.replace(plan, start_weights=tuple(model.start(plan.model_spec)))
    columns = made_up.patients(made_up.HOSPITALS[0])
    site = org if org in sites else None
    x = model.encode(columns, site=site, sites=sites)
    y = model.labels(columns)
    rest = np.ones(y.size, dtype=bool)
    rest[people] = False
    own = experiment.Cohort(x[rest], y[rest])
    weights = experiment.ridge(own, start=plan.start, strength=30.0)
    columns = {**columns, "age": columns["age"] + older}
    return validation_risk.Measured(
        plan=plan, org=org, columns={name: values[people] for name, values in columns.items()},
        scores=model.predict(tilt * weights, x)[people], labels=y[people],
        own=own if site else None, weights=weights, evaluation=None,
    )  # fmt: skip


def row(sections, name):
    return next(row for section in sections for row in section.rows if row.name == name)


def test_what_is_handed_out_has_no_exact_figure_and_is_still_what_was_signed():
    identity = Identity.generate()
    report = sealed(identity=identity)
    copy = validation.read(report.handed_out().encode(), at="copy")
    assert copy.digest == report.digest
    validation.require_whole(copy, signer=identity.public)
    assert set(copy.sections) == {"Open"}
    assert b"0.8125" in report.encode()
    assert b"0.8125" not in copy.encode()
    assert b"0.8125" not in validation_page.render(copy)
    assert "0.812" in validation_page.render(report).decode()


def test_the_head_says_nothing_that_depends_on_a_patient():
    other = dataclasses.replace(EXACT, rows=(Row("AUROC", 0.1, of=3),))
    heads = [dict(sealed(each, OPEN).head.payload) for each in (EXACT, other)]
    hashes = [[one.pop("sha256") for one in head["sections"]] for head in heads]
    assert heads[0] == heads[1]
    assert hashes[0] != hashes[1]


def test_equal_figures_have_other_hashes_each_time():
    first, second = (sealed().head.payload["sections"][0]["sha256"] for _ in range(2))
    assert first != second


@pytest.mark.parametrize("change", ["value", "class", "title", "salt"])
def test_a_section_that_was_changed_is_refused(change):
    identity = Identity.generate()
    value = canonical.decode(sealed(identity=identity).encode())
    sections = value["sections"]
    if change == "value":
        sections["Exact"]["rows"][0]["value"] = 0.99
    elif change == "class":
        sections["Exact"]["release"] = "public"
    elif change == "salt":
        sections["Exact"]["salt"] = "00" * 32
    else:
        sections["Another"] = sections.pop("Exact")
    with pytest.raises(EvidenceError) as refusal:
        validation.require_whole(
            validation.read(canonical.encode(value), at="x"), signer=identity.public
        )
    assert refusal.value.code == "TW7174"


def test_another_hospital_s_signature_and_other_files_are_refused():
    with pytest.raises(IdentityError):
        validation.require_whole(sealed(), signer=Identity.generate().public)
    later = canonical.decode(sealed().encode())
    for data in (b"{}", b"[]", b"x", canonical.encode({**later, "version": 2})):
        with pytest.raises(UsageError) as refusal:
            validation.read(data, at="file")
        assert refusal.value.code == "TW7173"


def test_every_section_has_its_class_and_only_made_up_and_paid_for_ones_may_leave():
    sections, alarms = validation_risk.sections(measured(), before=None)
    classes = {section.title: section.release for section in sections}
    leaves = {title for title, release in classes.items() if release in validation.LEAVES}
    assert leaves == {
        "What the network's own evaluation found",
        "What privacy costs, and what a hospital left out gets",
    }
    assert alarms == ()
    assert row(sections, "AUROC").value > 0.75
    slope = row(sections, "slope (1 if true)")
    assert slope.low < 1.3 < slope.high
    gain = row(sections, "gain over: trained here alone, without privacy")
    assert gain.low <= gain.value <= gain.high
    page = validation_page.render(sealed(*sections)).decode()
    assert page.count("Release class: <strong>stays at the node</strong>") == len(sections) - 2
    for what in ("<svg", "AUROC, women", "not measured", "made-up hospital left out"):
        assert what in page


def test_groups_of_fewer_than_ten_are_not_shown():
    sections, _ = validation_risk.sections(measured(people=slice(0, 30)), before=None)
    assert row(sections, "AUROC, below 50").value is None
    assert row(sections, "AUROC, below 50").of is None
    few, _ = validation_risk.sections(measured(people=slice(0, 12)), before=None)
    exact = [each for section in few if section.release is Release.STAYS for each in section.rows]
    assert all(each.value is None for each in exact if each.name.startswith("AUROC"))


def test_a_hospital_that_gave_nothing_gets_the_figure_of_one_left_out():
    outside = measured(org="valley")
    assert outside.is_outside
    sections, _ = validation_risk.sections(outside, before=None)
    assert row(sections, "AUROC where nobody was trained on").value > 0.7
    inside, _ = validation_risk.sections(measured(), before=None)
    assert "price" in row(inside, "AUROC of a model without this hospital").note
    beside = dataclasses.replace(measured(), elsewhere=outside.scores)
    both, _ = validation_risk.sections(beside, before=None)
    assert row(both, "gained by taking part").value is not None


def test_older_patients_and_probabilities_far_too_bold_are_alarming():
    first, _ = validation_risk.sections(measured(), before=None)
    reference = first[-1].curves
    same, quiet = validation_risk.sections(measured(), before=reference)
    assert quiet == ()
    assert row(same, "age: probability of so much change by chance").value == 1
    _, alarms = validation_risk.sections(measured(older=15.0, tilt=5.0), before=reference)
    assert any("`age` has changed" in alarm for alarm in alarms)
    assert any("calibration slope" in alarm for alarm in alarms)


def test_what_is_missing_or_too_old_or_asked_for_is_due(tmp_path):
    reports, now = Reports.of(tmp_path, "ab" * 8), 1_795_253_400.0
    assert reports.is_due(now=now, every_days=30)
    assert reports.age(now) is None
    kept = reports.keep(sealed(), alarms=("age",))
    assert kept.alarms() == ["age"]
    assert not reports.is_due(now=kept.made_at + 29 * DAY, every_days=30)
    assert reports.is_due(now=kept.made_at + 31 * DAY, every_days=30)
    reports.take(b"pack")
    assert reports.is_due(now=kept.made_at + 1, every_days=30)
    reports.failed(UsageError("no", code="TW1010", help="x"))
    assert reports.trouble()["code"] == "TW1010"
    reports.keep(sealed(), alarms=())
    assert reports.trouble() is None
    assert not reports.is_due(now=kept.made_at + 1, every_days=30)
    assert Reports.of(tmp_path, "glucose/1").twin == "glucose/1"
    assert reports.twin is None


def test_a_half_written_report_is_none_and_is_made_anew(tmp_path):
    """Alarms and page were written when the process died, the report was not."""
    reports = Reports.of(tmp_path, "ab" * 8)
    kept = reports.keep(sealed(), alarms=())
    kept.path.unlink()
    assert reports.newest() is None
    assert reports.is_due(now=kept.made_at, every_days=30)


def test_a_twin_is_judged_on_made_up_wards(tmp_path):
    out = tmp_path / "census.html"
    arguments = ["validate", "made-up", "census/1", "--people", "3", "--out", str(out), "--json"]
    result = CliRunner().invoke(twin, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {section["release"] for section in found["sections"]} == {"public"}
    rows = {each["name"]: each for section in found["sections"] for each in section["rows"]}
    assert rows["error over that of `it stays as it is`, 3 d ahead"]["value"] < 1
    assert rows["90 % intervals held, 1 d ahead"]["value"] == pytest.approx(0.9, abs=0.05)
    assert "Do its intervals hold?" in out.read_text()
    assert (
        "TW7173"
        not in CliRunner()
        .invoke(twin, ["validate", "hand-out", str(out.with_suffix(".json")), "--out", str(out)])
        .output
    )
    unknown = CliRunner().invoke(twin, ["validate", "made-up", "haemodynamic/1", "--out", str(out)])
    assert "TW7179" in unknown.output


def pressures(seed):
    generator = np.random.default_rng(seed)
    minutes = np.arange(0.0, 3 * 1440, 10)
    stroke = 70 + 8 * np.sin(minutes / 200) + generator.normal(0, 2, minutes.size)
    diastolic = 75 + generator.normal(0, 2, minutes.size)
    values = {
        "stroke_volume": stroke,
        "heart_rate": np.full(minutes.size, 65.0),
        "diastolic": diastolic,
        "systolic": diastolic + 0.6 * stroke + generator.normal(0, 2, minutes.size),
    }
    return Series(minutes, values)


def judged(people, release=Release.STAYS):
    starts = {"released": HAEMODYNAMIC.population(), "public": HAEMODYNAMIC.population()}
    return validation_twin.sections(
        HAEMODYNAMIC, [pressures(seed) for seed in range(people)], starts=starts, release=release,
        why="tests", generator=lambda: np.random.default_rng(1),
    )  # fmt: skip


def test_nothing_is_said_of_fewer_than_ten_people_unless_they_are_made_up():
    (few,), alarms = judged(9)
    assert [each.value for each in few.rows] == [None]
    assert alarms == ()
    enough, _ = judged(10)
    assert row(enough, "90 % intervals held, 60 min ahead").value == pytest.approx(0.9, abs=0.06)
    assert row(enough, "error over that of `it stays as it is`, 60 min ahead").of == 10
    beside = row(enough, "error from the start `released` over that from `public`, 60 min ahead")
    assert beside.value == pytest.approx(1, abs=0.05)
    made_up_people, _ = judged(2, release=Release.PUBLIC)
    assert row(made_up_people, "error over that of `it stays as it is`, 60 min ahead").of == 2
