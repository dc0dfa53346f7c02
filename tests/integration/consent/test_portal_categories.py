"""Leaving out a category on the patients' site: chosen, told, kept to, changed, and on paper."""

import html
import io
import json
import re
from dataclasses import replace

import pytest
from pypdf import PdfReader

from consent.portal.codes import read, spelled
from consent.portal.languages import languages
from consent.study import OptionalCategory
from tests.simulators.consent.world import HOSPITAL, STUDY, Hospital, Patient
from tests.simulators.portal import (
    ORIGIN,
    comes_in,
    post,
    says_yes,
    stops,
    used,
)
from tests.simulators.web.client import visit
from twinward.errors import ConsentError

PRESSURE = "blood pressure"
PARTLY = replace(STUDY, optional=(OptionalCategory(PRESSURE, ("trestbps",)),))
ONE = "/studies/0"


@pytest.fixture
def hospital(tmp_path):
    return Hospital(tmp_path / "hospital", study=PARTLY)


def sends(visitor, path, page):
    """Send the last form of an answer as a browser does: each box that is ticked, each field."""
    form = page.text[page.text.rindex("<form") :]
    boxes = re.findall(r"<input ([^>]*)>", form[: form.index("</form>")])
    fields = {}
    for box in boxes:
        kind, name, value = (
            re.search(rf'\b{key}="([^"]*)"', box) for key in ("type", "name", "value")
        )
        if kind[1] == "hidden" or " checked" in box:
            fields[name[1]] = value[1]
    return visitor.post(path, data=fields, headers={"origin": visitor.origin}), fields


def asked_of(page):
    """What a page gives the script that signs."""
    return json.loads(html.unescape(re.search(r'data-asked="([^"]*)"', page.text)[1]))


def leaves_out(hospital, number=0):
    newest = hospital.vault.newest(PARTLY.id32, hospital.records[number])
    return PARTLY.without(newest.grant.scope, HOSPITAL)


def words(page):
    return " ".join(re.sub(r"<[^>]+>", " ", page.text).split())


def test_a_ticked_box_is_read_and_one_that_is_not_is_left_out(hospital, patient):
    ticked = {"purpose": "health-research", "read-0": PRESSURE}
    everything = post(patient, f"{ONE}/preview", f"{ONE}/yes", **ticked)
    assert "They do not read this" not in words(everything)
    less, sent = sends(patient, f"{ONE}/preview", patient.get(f"{ONE}/yes"))
    assert "read-0" not in sent, "nothing is ticked before the patient ticks it"
    assert f"They do not read this: {PRESSURE} ." in words(less)
    assert "as if no one had ever written it down" in words(less)
    assert hospital.vault.newest(PARTLY.id32, hospital.records[0]) is None
    said, sent = sends(patient, f"{ONE}/yes", less)
    assert (said.status_code, "read-0" in sent) == (303, False)
    assert leaves_out(hospital) == (PRESSURE,)
    assert used(hospital, 0)
    for page in ("/home", ONE, f"{ONE}/now"):
        assert f"You left this out, so it is not read: {PRESSURE}" in words(patient.get(page)), page
    assert "You said yes to a part." in words(patient.get(ONE))


def test_a_hidden_field_that_was_tampered_with_lets_nothing_in(hospital, patient):
    for wrong in ({"read-1": PRESSURE}, {"read-0": "age and sex"}, {"read-0": "1"}):
        for address in (f"{ONE}/preview", f"{ONE}/yes"):
            answer = post(patient, address, f"{ONE}/yes", **wrong)
            assert (answer.status_code, "TW8071" in answer.text) == (400, True)
    assert hospital.vault.newest(PARTLY.id32, hospital.records[0]) is None


def test_a_yes_in_force_is_narrowed_and_widened_without_stopping(hospital, patient):
    says_yes(patient, **{"read-0": PRESSURE})
    assert (leaves_out(hospital), used(hospital, 0)) == ((), True)
    link = f'href="{ONE}/yes">Change what may be read'
    assert link in patient.get(ONE).text
    assert "This answer takes the place of your last one." in words(
        post(patient, f"{ONE}/preview", f"{ONE}/yes")
    )
    for fields, kept in (({}, (PRESSURE,)), ({"read-0": PRESSURE}, ()), ({}, (PRESSURE,))):
        assert says_yes(patient, **fields).status_code == 303
        assert (leaves_out(hospital), used(hospital, 0)) == (kept, True)
        box = re.search(r'<input [^>]*name="read-0"[^>]*>', patient.get(f"{ONE}/yes").text)[0]
        assert (" checked" in box) == (not kept), "the boxes show the last answer"
    stops(patient)
    assert not used(hospital, 0)
    assert "Change what may be read" not in patient.get(ONE).text


def test_until_the_ledger_has_the_new_answer_nothing_is_used_and_none_can_be_given(
    hospital, patient
):
    says_yes(patient, **{"read-0": PRESSURE})
    hospital.ledger.reachable = False
    says_yes(patient)
    assert not used(hospital, 0)
    choose = patient.get(f"{ONE}/yes").text
    assert "Your yes is still on its way." in choose
    assert "read-0" not in choose
    assert "TW3016" in says_yes(patient, **{"read-0": PRESSURE}).text
    hospital.ledger.reachable = True
    hospital.push()
    assert (leaves_out(hospital), used(hospital, 0)) == ((PRESSURE,), True)


def test_a_stop_while_a_new_answer_is_on_its_way_ends_both(hospital, patient):
    says_yes(patient)
    hospital.ledger.reachable = False
    says_yes(patient, **{"read-0": PRESSURE})
    hospital.ledger.reachable = True
    assert stops(patient).status_code == 303
    for _ in range(2):
        assert not used(hospital, 0)
        hospital.push()
    subject = hospital.vault.newest(PARTLY.id32, hospital.records[0]).subject
    assert hospital.ledger.slot(PARTLY.id32, subject).purposes == 0
    assert "You stopped. This study does not use your data." in words(patient.get(ONE))


def test_a_key_of_the_patients_own_device_signs_a_narrower_yes_after_a_wide_one(hospital, patient):
    """What the page gives the script carries the narrower scope and the next nonce."""
    owner = Patient(hospital, 1)
    comes_in(patient, spelled(owner.letter.code))
    one, subject = "/studies/1", owner.subject.hex()
    kdf = {"t": 3, "m": 65536, "p": 1, "salt": "00" * 16}
    sealed = {"v": 1, "subject": subject, "kdf": kdf, "iv": "00" * 12, "box": "00" * 48}

    def hands_in(grant):
        return post(
            patient, f"{one}/yes", f"{one}/stop", value=json.dumps(grant.to_json()),
            signature=grant.sign(owner.key, hospital.domain).hex(), sealed=json.dumps(sealed),
        )  # fmt: skip

    assert hands_in(owner.grant()).status_code == 303
    assert leaves_out(hospital, 1) == ()
    assert "Change what may be read" in patient.get(one).text
    asked = asked_of(post(patient, f"{one}/preview", f"{one}/yes"))
    narrower = PARTLY.scope(HOSPITAL, without=[PRESSURE])
    assert (asked["value"]["scope"], asked["value"]["nonce"]) == (narrower.hex(), 1)
    assert hands_in(owner.grant(scope=narrower, nonce=1)).status_code == 303
    assert leaves_out(hospital, 1) == (PRESSURE,)
    assert used(hospital, 1)


def test_a_key_that_is_elsewhere_is_not_asked_to_change_its_yes_here(hospital, patient):
    owner = Patient(hospital, 1)
    owner.grants()
    hospital.push()
    comes_in(patient, spelled(owner.letter.code))
    page = patient.get("/studies/1").text
    assert "You said yes. This study may use your data." in page
    assert "Change what may be read" not in page


def test_whom_the_patient_named_lets_in_nothing_that_the_patient_left_out(hospital, patient, site):
    says_yes(patient)
    made = post(
        patient, f"{ONE}/delegates", f"{ONE}/delegates", holder="Mia", says="all",
        until="2026-12-31",
    )  # fmt: skip
    code = re.search(r"<code>([0-9A-Z-]{30,})</code>", made.text)[1]
    with visit(site, ORIGIN) as friend:
        comes_in(friend, code)
        assert "Change what may be read" not in friend.get(ONE).text
        stops(friend)
        hospital.push()
        choose = friend.get(f"{ONE}/yes")
        assert "read-0" not in choose.text
        assert f"You left this out, so it is not read: {PRESSURE}" in words(choose)
        wide = says_yes(friend, **{"read-0": PRESSURE})
        assert (wide.status_code, "TW8071" in wide.text) == (400, True)
        by_hand = Patient(hospital, 0, letter=hospital.letter_of(read(code)))
        with pytest.raises(ConsentError) as caught:
            by_hand.grants()
        assert caught.value.code == "TW8165"
        assert not used(hospital, 0)
        assert says_yes(friend).status_code == 303
        assert (leaves_out(hospital), used(hospital, 0)) == ((PRESSURE,), True)


@pytest.mark.parametrize("language", ["en", "ar"])
def test_every_receipt_says_what_was_left_out(hospital, patient, language):
    says_yes(patient)
    record = patient.get(f"{ONE}/receipt.json").json()
    assert record["pii_processing"]["pii_categories"] == ["age and sex"]
    assert record["pii_processing"]["pii_categories_left_out"] == [PRESSURE]
    assert record["event"]["state"] == "granted-in-part"
    excepted = patient.get(f"{ONE}/receipt.fhir.json").json()["provision"]["provision"]
    assert [each["type"] for each in excepted] == ["deny"]
    assert PRESSURE in json.dumps(excepted)
    patient.get(f"/language/{language}")
    label = languages()[language].words["paper_left_out"]
    (page,) = PdfReader(io.BytesIO(patient.get(f"{ONE}/receipt.pdf").content)).pages
    (line,) = [each for each in page.extract_text().splitlines() if PRESSURE in each]
    assert language == "ar" or label in line
    assert "age and sex" not in line
    says_yes(patient, **{"read-0": PRESSURE})
    (page,) = PdfReader(io.BytesIO(patient.get(f"{ONE}/receipt.pdf").content)).pages
    assert f"age and sex, {PRESSURE}" in page.extract_text()
    record = patient.get(f"{ONE}/receipt.json").json()
    assert record["pii_processing"]["pii_categories_left_out"] == []
    assert "provision" not in patient.get(f"{ONE}/receipt.fhir.json").json()["provision"]
