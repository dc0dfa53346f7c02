"""Who used my data, on the page: the audit log's lines of one patient, checked, and no other's."""

import hashlib
import io
import json
import re

import pytest
from pypdf import PdfReader

from consent.fhir.resource import Release, parse
from consent.portal import results
from consent.portal.codes import spelled
from consent.purposes import bits
from consent.register import Register
from consent.standing import Mandate, Role
from consent.uses import KIND
from tests.simulators.consent.world import IDENTITY, STUDY, Hospital
from tests.simulators.portal import (
    ORIGIN,
    comes_in,
    keeps_a_book,
    post,
    says_yes,
    stops,
)
from tests.simulators.web.client import visit
from twinward.errors import UsageError
from twinward.signing import Document

RUN = "5a" * 32


@pytest.fixture
def hospital(tmp_path):
    """A hospital whose desk answers from a real audit log and real accounts."""
    (tmp_path / "audit").mkdir()
    with keeps_a_book(Hospital(tmp_path / "hospital"), tmp_path / "audit") as made:
        yield made


@pytest.fixture
def patient(site):
    with visit(site, ORIGIN) as visitor:
        yield visitor


def used(hospital, *numbers, run=RUN):
    records = [hospital.records[number] for number in numbers]
    hospital.audit.used(records, study=STUDY.name, run=run, to="coordinator")


def uses_of(visitor):
    answer = visitor.get("/studies/0/uses.json")
    return Document.decode(answer.content, kind=KIND, at="uses")


def test_each_patient_reads_their_own_lines_and_nobody_elses(hospital, patient):
    used(hospital, 0, 1, 2)
    used(hospital, 1, run="6b" * 32)
    comes_in(patient, spelled(hospital.letter(0).code))
    says_yes(patient)
    stops(patient)
    page = patient.get("/studies/0/uses").text
    assert page.count("Your data went into a sum.") == 1
    assert page.count("You stopped.") == 1
    said = uses_of(patient)
    said.verify(IDENTITY.public)
    assert [line["kind"] for line in said.payload["lines"]] == ["withdrawal", "disclosure"]
    assert said.payload["lines"][1]["run"] == RUN
    assert hospital.records[1] not in json.dumps(said.payload)


def test_a_line_is_found_again_in_the_log_by_whoever_has_it(hospital, patient):
    used(hospital, 0, 1)
    comes_in(patient, spelled(hospital.letter(0).code))
    (line,) = uses_of(patient).payload["lines"]
    body = json.dumps(line["body"], separators=(",", ":"), sort_keys=True).encode()
    assert hashlib.sha256(bytes.fromhex(line["salt"]) + body).hexdigest() == line["commitment"]
    log = hospital.audit.log.log
    assert line["commitment"] in json.loads(log.leaf(0))["commitment"]


def test_a_check_finds_the_lines_whole_and_a_changed_book_is_said(hospital, patient, tmp_path):
    used(hospital, 0, 1)
    comes_in(patient, spelled(hospital.letter(0).code))
    good = post(patient, "/studies/0/uses", "/studies/0/uses").text
    assert "Lines about you: 1." in good
    assert "stamp of the other hospitals is not on it yet" in good
    body = hospital.audit.log.bodies._bodies
    body.execute("update bodies set sealed = zeroblob(length(sealed))")
    answer = post(patient, "/studies/0/uses", "/studies/0/stop")
    assert answer.status_code >= 400
    assert "Our book about you does not add up" in answer.text


def test_checks_cannot_be_used_to_keep_the_node_busy(hospital, patient):
    comes_in(patient, spelled(hospital.letter(0).code))
    answers = [post(patient, "/studies/0/uses", "/studies/0/uses").status_code for _ in range(6)]
    assert (answers[0], answers[-1]) == (200, 429)


def test_the_length_of_the_log_is_told_to_no_patient(hospital, patient):
    """It would tell how many others were used, and who left."""
    used(hospital, 0)
    comes_in(patient, spelled(hospital.letter(0).code))

    def told():
        payload = uses_of(patient).payload
        return {key: payload[key] for key in payload if key != "said_at"}

    before = told()
    used(hospital, 1, 2, 3)
    assert told() == before


def test_who_answers_for_another_reads_about_that_study_only(hospital, patient):
    used(hospital, 0)
    hospital.audit.cared("twin-asked", hospital.records[0], twin="glucose/meal", by="ana")
    number = patient_of_a_mandate(hospital)
    (code,) = hospital.vault.enrol(
        STUDY.id32, [hospital.records[0]], valid_until=STUDY.closes, mandate=number
    )
    comes_in(patient, spelled(code))
    said = uses_of(patient).payload
    assert [line["kind"] for line in said["lines"]] == ["disclosure"]
    assert said["spent"] is None


def patient_of_a_mandate(hospital):
    now = int(hospital.clock.now())
    mandate = Mandate(Role.DELEGATE, bits(["heart-research"]), now, now + 86_400 * 30, None)
    return Register(hospital.vault).give(hospital.records[0], mandate, holder="A. Friend")


def test_privacy_spent_is_a_picture_with_figures_beside_it(hospital, patient):
    comes_in(patient, spelled(hospital.letter(0).code))
    page = patient.get("/studies/0/uses").text
    assert re.search(r'<svg [^>]*role="img" aria-label="At most 0 of 100 parts are used\."', page)
    assert "epsilon" in page


def test_receipts_for_paper_for_computers_and_for_another_hospital(hospital, patient):
    comes_in(patient, spelled(hospital.letter(0).code))
    assert patient.get("/studies/0/receipt.fhir.json").status_code == 404
    says_yes(patient, **{"not-for-profit": "1"})
    kept = hospital.vault.newest(STUDY.id32, hospital.records[0])
    paper = printed(patient.get("/studies/0/receipt.pdf").content)
    for needed in (STUDY.title, kept.digest.hex(), STUDY.salt, "The hospital signed it for you"):
        assert needed in paper
    found = patient.get("/studies/0/receipt.fhir.json").json()
    assert parse(found, release=Release.R4)["status"] == "active"
    assert found["patient"]["identifier"]["value"] == kept.subject.hex()
    assert hospital.records[0] not in json.dumps(found)
    stops(patient)
    assert patient.get("/studies/0/receipt.fhir.json").json()["status"] == "inactive"


def test_a_receipt_is_printed_in_the_language_of_its_reader(patient, hospital):
    comes_in(patient, spelled(hospital.letter(0).code))
    says_yes(patient)
    digest = hospital.vault.newest(STUDY.id32, hospital.records[0]).digest.hex()
    patient.get("/language/ar")
    paper = printed(patient.get("/studies/0/receipt.pdf").content)
    for needed in (STUDY.title, digest, STUDY.salt, "المستشفى", "تاريخ الإصدار"):
        assert needed in paper
    assert "Hospital\n" not in paper


def printed(data):
    """The words of a PDF file of one page."""
    (page,) = PdfReader(io.BytesIO(data)).pages
    return page.extract_text()


def test_results_are_read_by_the_patients_of_that_study(hospital, patient, tmp_path):
    comes_in(patient, spelled(hospital.letter(0).code))
    assert patient.get("/studies/0/result").status_code == 404
    words = tmp_path / "words.toml"
    words.write_text('en = """We found <b>little</b>.\n\nThank you."""\nar = "شكرًا"\n')
    assert results.publish(tmp_path / "portal", STUDY.name, words) == ("ar", "en")
    page = patient.get("/studies/0/result").text
    assert "We found &lt;b&gt;little&lt;/b&gt;." in page
    assert "/studies/0/result" in patient.get("/studies/0").text
    patient.get("/language/ar")
    assert '<div lang="ar" dir="rtl">' in patient.get("/studies/0/result").text


@pytest.mark.parametrize(
    "words", ["", "en = 3", 'ar = "x"', 'en = "x"\nxx = "y"', "en = '", 'en=" "']
)
def test_a_result_in_no_readable_form_is_refused(tmp_path, words):
    (tmp_path / "words.toml").write_text(words)
    with pytest.raises(UsageError) as refused:
        results.publish(tmp_path, STUDY.name, tmp_path / "words.toml")
    assert refused.value.code == "TW8075"
