"""One answer in all its forms, saved questions, and the reports that the law asks for."""

import csv
import io
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from ledger.questions import reports, saved
from ledger.questions.documents import Documents
from ledger.questions.library import ask
from ledger.questions.saved import Saved
from tests.simulators.ledger.story import DAY, Story, pseudonym
from twinward.errors import UsageError
from twinward.signing import Document


class Cells(HTMLParser):
    """The texts of a page's cells, and every tag on it."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.tags, self.inside = [], set(), False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in {"td", "th"}

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


@pytest.fixture
def story():
    return told()


def told(**more):
    story = Story()
    study = story.study(**more)
    story.consent(study, "ann", "bern")
    plan = study.plan()
    study.run(plan)
    study.release(plan)
    study.run(plan)
    return story


def test_all_forms_say_the_same(story):
    asked = {"subjects": pseudonym("ann").hex()}
    answer = ask("uses", asked, sources=story.sources())
    data = answer.as_json()
    (head, *lines) = list(csv.reader(io.StringIO(answer.as_csv(), newline="")))
    cells = Cells(answer.as_html())
    assert len(data["rows"]) == len(lines) == len(cells.rows) - 1 == 2
    for row, line, shown in zip(data["rows"], lines, cells.rows[1:], strict=True):
        texts = ["" if cell is None else str(cell) for cell in row]
        assert line[:-1] == texts
        assert shown == texts
    assert head[0] == "from [UTC]"
    assert [int(n) for n in lines[0][-1].split()] == data["evidence"][0]
    assert answer.headline in answer.as_text()
    assert not cells.tags & {"script", "img", "link", "iframe"}


def test_names_of_members_cannot_break_a_page_or_a_spreadsheet(story):
    payload = {"network": story.genesis.hex(), "name": "=1+1<b>", "salt": "77" * 32}
    document = Document("twinward/study/v1", payload)
    story.documents.append(("evil.json", document.encode()))
    story.record(document.digest, 1)
    plan = Document("twinward/plan/v1", {"study": "=1+1<b>", "purpose": "x", "model": "m/1"})
    story.documents.append(("plan.json", plan.encode()))
    story.record(plan.digest, 2, [document.digest])
    story.record(b"\x4d" * 32, 5, [plan.digest])
    answer = ask("exports", {}, sources=story.sources())
    assert "<b>" not in answer.as_html()
    assert "'=1+1<b>" in answer.as_csv()


def test_a_document_whose_digest_is_not_on_the_ledger_counts_for_nothing(story):
    fake = Document(
        "twinward/study/v1",
        {"network": story.genesis.hex(), "name": "fake", "salt": "99" * 32},
    )
    story.documents.append(("fake.json", fake.encode()))
    with pytest.raises(UsageError):
        ask("staff-attested", {"study": "fake"}, sources=story.sources())


def test_a_damaged_pack_is_named_and_left_out():
    found = Documents.of([("bad.zip", b"PK\x03\x04 nothing")])
    assert found.packs == ()
    assert "bad.zip" in found.unusable[0]


def test_questions_are_saved_and_found_again(tmp_path):
    path = tmp_path / "state" / "saved.json"
    saved.save(path, "spend", Saved("privacy-spend", {"member": "bern"}))
    saved.save(path, "count", Saved(sql="select count(*) from events"))
    assert saved.find(path, "spend") == Saved("privacy-spend", {"member": "bern"})
    assert saved.find(path, "count").sql == "select count(*) from events"
    saved.save(path, "spend", Saved("privacy-spend"))
    assert saved.find(path, "spend").parameters == {}
    for name, code in (("nothing", "TW3734"),):
        with pytest.raises(UsageError) as refusal:
            saved.find(path, name)
        assert refusal.value.code == code
    with pytest.raises(UsageError) as refusal:
        saved.save(path, "Not A Name", Saved("uses"))
    assert refusal.value.code == "TW3733"
    path.write_text("{}x")
    with pytest.raises(UsageError) as refusal:
        saved.load(path)
    assert refusal.value.code == "TW3732"


def test_an_accounting_of_disclosures_has_what_the_law_asks_for(story):
    until = datetime.fromtimestamp(story.time + DAY, UTC)
    report = reports.hipaa(story.sources(), subjects=pseudonym("ann").hex(), until=until)
    (summary,) = dict(report.parts)["Repeated disclosures in summary"]
    assert summary["number"] == 2
    assert summary["first"] < summary["last"]
    assert {"recipient", "description", "purpose"} <= set(summary)
    (protocol,) = dict(report.parts)["Research protocols that may have used the record"]
    assert protocol["study"] == "heart"
    text = report.as_markdown()
    assert "To be filled in by a person" in text
    assert pseudonym("ann").hex() in text
    years_later = datetime.fromtimestamp(story.time + 7 * 366 * DAY, UTC)
    late = reports.hipaa(story.sources(), subjects=pseudonym("ann").hex(), until=years_later)
    assert [use["model"] for use in dict(late.parts)["Each of them"]] == [None]


@pytest.mark.parametrize(
    ("document", "told_of_it"),
    [
        ({"optional": {"blood tests": ["chol"], "blood pressure": ["trestbps"]}}, True),
        ({"optional": {}}, False),
        ({}, False),  # signed before there were such categories
    ],
)
def test_both_reports_say_what_patients_could_leave_out(document, told_of_it):
    story = told(**document)
    until = datetime.fromtimestamp(story.time + DAY, UTC)
    for report in (
        reports.hipaa(story.sources(), subjects=pseudonym("ann").hex(), until=until),
        reports.gdpr(story.sources(), member="hospital 2"),
    ):
        said = "- may be left out: blood pressure, blood tests" in report.as_markdown()
        assert said is told_of_it
        assert ("may be left out: None" in report.as_markdown()) is False


def test_the_register_of_processing_names_each_approved_plan(story):
    report = reports.gdpr(story.sources(), member="hospital 2")
    (entry,) = dict(report.parts)["Processing activities"]
    assert "heart" in entry["activity"]
    assert entry["recipients"].startswith("the coordinator")
    assert "data protection officer" in report.as_markdown()
    assert report.as_json()["about"]["other controllers"] == ["hospital 3", "hospital 4"]
    with pytest.raises(UsageError) as refusal:
        reports.gdpr(story.sources(documents=Documents()), member="2")
    assert refusal.value.code == "TW3717"
    with pytest.raises(UsageError):
        reports.gdpr(story.sources(), member="nobody")
