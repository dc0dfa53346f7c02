"""What the pages say, against the events that they are made of."""

import csv
import io
import random
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger import verify
from ledger.events import form
from ledger.explorer.consents import states
from ledger.explorer.gaps import silences
from ledger.explorer.view import grade_of, open_view
from ledger.questions.permissions import slot_of
from tests.simulators.explorer.world import ANCHORED, DAY, HEART, SLEEP, START, as_form


def in_force(slot, at):
    return "withdrawn" if not slot.purposes else "expired" if slot.expiry <= at else "in force"


def test_every_page_answers_in_three_forms_with_the_same_rows(world, auditor):
    for name, path in world.addresses().items():
        page = auditor.get(path)
        assert page.status_code == 200, name
        assert "Verified against checkpoint" in page.text
        value = auditor.get(as_form(path, "json")).json()
        assert value["verified"]["checkpoint"] == len(world.events)
        rows = list(csv.DictReader(io.StringIO(auditor.get(as_form(path, "csv")).text)))
        tables = [one for one in value.values() if isinstance(one, list) and one and
                  isinstance(one[0], dict)]  # fmt: skip
        if tables and name != "lineage":
            assert len(rows) == len(tables[0]) or len(rows) in {len(one) for one in tables}, name


def test_the_timeline_shows_every_event_once(world, auditor):
    seen, path = [], "/timeline.json"
    while path:
        page = auditor.get(path).json()
        seen += [row["number"] for row in page["events"]]
        path = page["older"] and page["older"].replace("/timeline?", "/timeline.json?")
    assert seen == [event.number for event in reversed(world.events)]


def test_the_timeline_can_be_narrowed(world, auditor):
    approved = auditor.get("/timeline.json?kind=Provenance.Approved").json()["events"]
    assert len(approved) == 7
    subject = world.subjects[HEART][0]
    about = auditor.get(f"/timeline.json?about=0x{subject.hex()}").json()["events"]
    expected = [e.number for e in world.events if e.values.get("subject") == subject]
    assert [row["number"] for row in about] == expected[::-1]
    day = datetime.fromtimestamp(START + 2 * DAY, tz=UTC).date().isoformat()
    until = auditor.get(f"/timeline.json?until={day}").json()["events"]
    assert (
        until[0]["at"]
        <= f"{day}T23:59:59Z"
        < auditor.get("/timeline.json").json()["events"][0]["at"]
    )


@pytest.mark.parametrize(
    "query", ["about=xyz", "about=abcd", "until=soon", "before=-1", "before=x"]
)
def test_a_wrong_address_is_named(auditor, query):
    answer = auditor.get(f"/timeline.json?{query}")
    assert answer.status_code == 400
    assert answer.json()["code"] == "TW7035"


@pytest.mark.parametrize("path", ["/events/0", "/events/99999", "/studies/" + "ab" * 32, "/no"])
def test_what_is_not_there_is_said_to_be_not_there(auditor, path):
    assert auditor.get(path).status_code in {400, 404}


def test_consents_at_any_moment_are_what_the_events_say(world, explorer):
    chance = random.Random(5)
    changes = [e for e in world.events if e.name == "ConsentChanged"]
    with open_view(
        explorer.source.path, papers=explorer.source.papers, standing=None, scope=None
    ) as view:
        for at in [
            START - 1,
            world.events[-1].time,
            *(START + chance.random() * 9 * DAY for _ in range(20)),
        ]:
            last = {}
            for event in changes:
                if event.time <= at:
                    slot = slot_of(event)
                    last[slot.study, slot.subject] = slot
            expected = Counter(
                (s.study, s.relay, in_force(s, at), grade_of(s)) for s in last.values()
            )
            found = Counter()
            for one in states(view, at=at):
                found[one.study, one.relay, one.state, one.grade] += one.count
            assert found == expected


def test_one_subject_over_time(world, auditor):
    path = f"/subjects.json?subject={world.subjects[HEART][1].hex()}"
    page = auditor.get(path).json()
    assert [row["change"] for row in page["changes"]] == ["granted", "withdrew"]
    assert page["changes"][1]["grade"] == "attested by staff"
    assert page["state"] == {HEART: "withdrawn"}
    day = datetime.fromtimestamp(START + 4 * DAY, tz=UTC).date().isoformat()
    assert auditor.get(f"{path}&date={day}").json()["state"] == {HEART: "in force"}


def test_a_study_shows_what_came_of_it(world, auditor):
    digest, _ = world.studies[HEART]
    page = auditor.get(f"/studies/{digest.hex()}.json").json()
    assert page["plans"][0]["approved"] == "basel, bern, chur, genf"
    assert page["runs"][0]["run"] == world.run.run.hex()
    assert page["models"][0]["digest"] == world.release.hex()
    rows = auditor.get("/studies.json").json()["studies"]
    assert {row["name"]: (row["in_force"], row["withdrawn"]) for row in rows} == {
        HEART: (world.patients - 3, 2),
        SLEEP: (world.patients - 1, 0),
    }


def test_a_study_shows_what_patients_may_leave_out(world, auditor):
    shown = {
        name: auditor.get(f"/studies/{world.studies[name][0].hex()}").text
        for name in (HEART, SLEEP)
    }
    assert "<dt>May be left out</dt><dd>blood tests (chol, fbs)</dd>" in shown[HEART]
    assert "left out" not in shown[SLEEP]


def test_privacy_spend_is_the_sum_of_reservations(world, auditor):
    rows = auditor.get("/privacy.json").json()["spent"]
    assert {row["hospital"] for row in rows} == {"basel", "bern", "chur", "genf"}
    assert all(row["mu2"] == 0.071852 and 0.9 < row["epsilon"] < 1.1 for row in rows)
    text = auditor.get("/privacy").text
    assert "<svg" in text
    assert 'aria-label="mu² reserved' in text


def test_questions_answer_or_say_that_there_is_no_source(auditor):
    for row in auditor.get("/questions.json").json()["questions"]:
        page = auditor.get(f"/questions/{row['id']}")
        assert page.status_code == 200, row["id"]
        assert any(word in page.text for word in ("Fill in", "No source yet", "notice"))
    assert "No source yet" in auditor.get("/questions/code-approved").text
    elsewhere = auditor.get("/questions/overrides").text
    assert "Not on the ledger" in elsewhere
    assert "twinward audit ask overrides FOLDER --log log.zip" in elsewhere
    assert auditor.get("/questions/in-force.json").status_code == 400
    assert auditor.get("/questions/never-asked").status_code == 400


def test_an_answer_comes_with_a_proof_that_verifies_offline(world, explorer, auditor, tmp_path):
    path = "/questions/consents-at/proof?date=2026-09-25"
    page = auditor.get("/questions/consents-at?date=2026-09-25").text
    assert path in page, page[page.index("<main") :]
    answer = auditor.get(path)
    assert answer.status_code == 200
    (tmp_path / "verify.py").write_bytes(Path(verify.__file__).read_bytes())
    (tmp_path / "answer").write_bytes(answer.content)
    (tmp_path / "founding.json").write_bytes(world.founding.document.encode())
    done = subprocess.run(
        [sys.executable, "-I", "verify.py", "answer", "--founding", "founding.json"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert auditor.get("/questions/overrides/proof").status_code == 400


def test_a_silence_is_found_and_one_that_lasts_is_marked():
    found = silences("basel", 0, [50, 100, 400], now=1_000, limit=200)
    assert [(gap.start, gap.end, gap.is_open) for gap in found] == [
        (100, 400, False),
        (400, 1_000, True),
    ]
    assert silences("basel", 0, [100, 200], now=250, limit=200) == []


def test_gaps_name_who_was_silent_or_say_that_there_is_no_source(auditor):
    page = auditor.get("/gaps.json?hours=24").json()
    if form(ANCHORED) is None:
        assert page["has_source"] is False
        assert "No source yet" in auditor.get("/gaps").text
        return
    silent = {row["member"]: row["state"] for row in page["gaps"]}
    assert silent == dict.fromkeys(("coordinator", "bern", "chur", "genf"), "still silent") | {
        "basel": "over"
    }
    assert page["anchors"] == 3
    assert "Drawing of anchors" in auditor.get("/gaps").text


def test_names_that_others_chose_cannot_become_markup(world, explorer, auditor):
    text = auditor.get("/timeline?about=%22%3E%3Cscript%3Ealert(1)%3C/script%3E").text
    assert "<script>alert" not in text
    for name in ("kind", "until", "before"):
        text = auditor.get(f"/timeline?{name}=%22%3E%3Cimg%20src%3Dx%3E").text
        assert "<img" not in text
