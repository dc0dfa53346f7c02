"""The patients' site by its addresses: what it tells, what it keeps, whom it refuses."""

import io
import json
import re
import sqlite3
from contextlib import closing

import pytest
from pypdf import PdfReader

from consent import signature
from consent.portal import at_hospital
from consent.portal.codes import spelled
from consent.portal.languages import languages
from consent.portal.sealed_keys import KEYS, SealedKeys
from tests.simulators.consent.world import IDENTITY, STUDY, Hospital, Patient
from tests.simulators.portal import (
    ORIGIN,
    comes_in,
    post,
    running_desk,
    says_yes,
    site_before,
    stops,
    used,
)
from tests.simulators.web.client import visit
from twinward import canonical
from twinward.signing import Document

KEPT = {"UTC", "Cleveland", "PDF", "JSON", "FHIR"}
"""What Arabic pages say as English ones do."""


@pytest.fixture
def hospital(tmp_path):
    return Hospital(tmp_path / "hospital")


@pytest.fixture
def desk(hospital, tmp_path):
    with running_desk(hospital, tmp_path) as found:
        yield found


@pytest.fixture
def site(desk, tmp_path):
    with site_before(desk, tmp_path) as app:
        yield app


@pytest.fixture
def patient(site):
    with visit(site, ORIGIN) as visitor:
        yield visitor


def test_yes_stop_and_yes_again_with_the_same_letter(hospital, patient):
    comes_in(patient, spelled(hospital.letter(0).code))
    for _ in range(2):
        assert says_yes(patient).headers["location"] == "/studies/0"
        assert used(hospital, 0)
        home = re.sub(r"<[^>]+>", "", patient.get("/home").text)
        assert f"Your data is used now by: {STUDY.title}" in home
        assert stops(patient).status_code == 303
        assert not used(hospital, 0)
        hospital.push()
    assert "You stopped" in patient.get("/studies/0").text


def test_the_preview_is_the_policy_and_keeps_nothing(hospital, patient):
    comes_in(patient, spelled(hospital.letter(0).code))
    plain = post(patient, "/studies/0/preview", "/studies/0/yes").text
    assert "Yes, I agree" in plain
    limited = post(patient, "/studies/0/preview", "/studies/0/yes", **{"ethics-approved": "1"}).text
    assert "Yes, I agree" not in limited
    assert "One of your limits does not fit this study." in limited
    assert hospital.vault.newest(STUDY.id32, hospital.records[0]) is None
    wrong = post(patient, "/studies/0/preview", "/studies/0/yes", purpose="own-care")
    assert (wrong.status_code, "TW8071" in wrong.text) == (400, True)


def test_the_receipt_is_the_hospitals_and_carries_the_salt(hospital, patient):
    comes_in(patient, spelled(hospital.letter(0).code))
    says_yes(patient)
    stops(patient)
    found = patient.get("/studies/0/receipt.json").json()
    assert found["pii_processing"]["study"]["salt"] == STUDY.salt
    assert found["event"]["grade"] == "signed-at-hospital"
    for name in ("grant", "withdrawal"):
        receipt = found["receipts"][name]
        document = Document.decode(canonical.encode(receipt), kind=receipt["kind"], at="receipt")
        document.verify(IDENTITY.public)
        assert document.payload["study"] == STUDY.id32.hex()


def test_a_letter_that_a_device_used_is_stopped_by_its_code(hospital, patient):
    owner = Patient(hospital, 0)
    owner.grants()
    hospital.push()
    comes_in(patient, owner.letter.code.hex())
    assert "You signed it with your own device" in patient.get("/studies/0").text
    refused = says_yes(patient)
    assert (refused.status_code, "TW3015" in refused.text) == (403, True)
    stops(patient)
    assert not used(hospital, 0)


def sealed_for(subject):
    """A sealed key as the page's script sends it; nobody opens this one."""
    kdf = {"t": 3, "m": 65536, "p": 1, "salt": "00" * 16}
    return {"v": 1, "subject": subject, "kdf": kdf, "iv": "00" * 12, "box": "00" * 48}


def test_what_a_device_signed_is_kept_with_its_sealed_key_and_a_refused_one_is_not(
    hospital, patient, tmp_path
):
    owner = Patient(hospital, 0)
    comes_in(patient, owner.letter.code.hex())
    subject = owner.subject.hex()

    def hands_in(grant, **changes):
        made = {
            "value": json.dumps(grant.to_json()),
            "signature": grant.sign(owner.key, hospital.domain).hex(),
            "sealed": json.dumps(sealed_for(subject)),
        }
        return says_yes(patient, **(made | changes))

    def kept():
        with closing(SealedKeys.open(tmp_path / "portal" / KEYS)) as keys:
            return keys.of(owner.letter.code)

    late = owner.grant(submit_by=int(hospital.clock.now()) - 1)
    refused = hands_in(late)
    assert (refused.status_code, kept(), used(hospital, 0)) == (403, {}, False)
    assert hands_in(owner.grant()).status_code == 303
    assert kept() == {subject: sealed_for(subject)}
    assert hospital.vault.newest(STUDY.id32, owner.record).grade == "signed-on-device"
    assert used(hospital, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"value": "["}, {"value": "3"}, {"value": "{}"}, {"value": '{"subject": "zz"}'},
        {"sealed": ""}, {"sealed": "{}"}, {"sealed": "[1]"}, {"sealed": "x" * 2000},
        {"sealed": json.dumps(sealed_for("00" * 20))},
        {"value": '{"subject": "zz"}', "sealed": json.dumps(sealed_for("zz"))},
        {"value": '{"subject": "00"}', "sealed": json.dumps(sealed_for("00"))},
    ],
)  # fmt: skip
def test_what_no_script_of_ours_sends_is_refused_and_not_kept(hospital, patient, tmp_path, changes):
    owner = Patient(hospital, 0)
    comes_in(patient, owner.letter.code.hex())
    grant = owner.grant()
    honest = {
        "value": json.dumps(grant.to_json()),
        "signature": grant.sign(owner.key, hospital.domain).hex(),
        "sealed": json.dumps(sealed_for(owner.subject.hex())),
    }
    answer = says_yes(patient, **(honest | changes))
    assert (answer.status_code, "TW8072" in answer.text) == (400, True)
    with closing(SealedKeys.open(tmp_path / "portal" / KEYS)) as keys:
        assert keys.of(owner.letter.code) == {}


def by_passkey(subject, **changes):
    """A key as the page's script seals it with a passkey; nobody opens this one."""
    lock = {"id": "ab" * 32, "salt": "00" * 32}
    made = {"v": 2, "subject": subject, "passkey": lock, "iv": "00" * 12, "box": "00" * 48}
    return made | changes


def test_a_key_that_a_passkey_sealed_is_kept_whole_or_not_at_all(hospital, patient, tmp_path):
    owner = Patient(hospital, 0)
    comes_in(patient, owner.letter.code.hex())
    subject, grant = owner.subject.hex(), owner.grant()
    signed = {
        "value": json.dumps(grant.to_json()),
        "signature": grant.sign(owner.key, hospital.domain).hex(),
    }
    for wrong in (
        by_passkey(subject, v=1), by_passkey(subject, kdf=sealed_for(subject)["kdf"]),
        by_passkey(subject, passkey={"id": "ab"}), by_passkey(subject, passkey="ab"),
        by_passkey(subject, passkey={"id": "", "salt": "00"}), sealed_for(subject) | {"v": 2},
        by_passkey(subject, passkey={"id": "ab" * 3000, "salt": "00"}),
    ):  # fmt: skip
        answer = says_yes(patient, **signed, sealed=json.dumps(wrong))
        assert (answer.status_code, "TW8072" in answer.text) == (400, True), wrong
    whole = by_passkey(subject)
    assert says_yes(patient, **signed, sealed=json.dumps(whole)).status_code == 303
    with closing(SealedKeys.open(tmp_path / "portal" / KEYS)) as keys:
        assert keys.of(owner.letter.code) == {subject: whole}
    page = patient.get("/studies/0/stop").text
    assert "data-passkey" in page
    assert "data-passphrase" not in page


def test_one_visit_holds_several_letters_and_no_more_than_its_own(hospital, patient, site):
    for number in (0, 1):
        comes_in(patient, spelled(hospital.letter(number).code))
    says_yes(patient, place=1)
    assert (used(hospital, 0), used(hospital, 1)) == (False, True)
    assert patient.get("/studies/2").status_code == 404
    assert patient.get("/studies/-1").status_code == 404
    with visit(site, ORIGIN) as stranger:
        for path in ("/home", "/studies/0", "/studies/0/now", "/studies/0/stop"):
            assert stranger.get(path).headers["location"].startswith("/sign-in")
        assert stranger.get("/studies/0/receipt.json").status_code in (401, 403)


def test_who_left_or_has_a_wrong_code_sees_nothing(hospital, patient):
    for wrong in ("", "0" * 26, "hello"):
        answer = comes_in(patient, wrong)
        assert (answer.status_code, "session" in answer.headers.get("set-cookie", "")) == (
            403, False,
        )  # fmt: skip
    comes_in(patient, spelled(hospital.letter(0).code))
    post(patient, "/sign-out", "/home")
    assert patient.get("/home").headers["location"].startswith("/sign-in")


def test_guessing_is_slowed_down(patient):
    answers = [comes_in(patient, "0" * 26).status_code for _ in range(22)]
    assert (answers[0], answers[-1]) == (403, 429)


def test_a_form_of_another_site_changes_nothing(hospital, patient):
    comes_in(patient, spelled(hospital.letter(0).code))
    for headers in ({"origin": "https://evil.example"}, {"origin": ORIGIN}, {}):
        assert (
            patient.post("/studies/0/yes", data={"csrf": "0" * 64}, headers=headers).status_code
            == 403
        )
    assert not used(hospital, 0)


def test_no_code_and_no_key_lies_on_a_disk_or_in_an_address(hospital, patient, tmp_path):
    letter = hospital.letter(0)
    comes_in(patient, spelled(letter.code))
    moved = says_yes(patient)
    key = at_hospital.key_of(letter.code, STUDY)
    places = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(signature.address_of(key) in data for data in places)  # the subject is kept
    for secret in (letter.code, key):
        for spelling in (secret, secret.hex().encode(), spelled(letter.code).encode()):
            assert not any(spelling in data for data in places)
    assert moved.headers["location"] == "/studies/0"
    assert letter.code.hex() not in patient.get("/studies/0").text


def test_a_copy_of_the_hospitals_database_cannot_sign(hospital, patient, tmp_path):
    """Every stored value of 16 or 32 bytes is tried, as code and as key."""
    comes_in(patient, spelled(hospital.letter(0).code))
    says_yes(patient)
    subject = hospital.vault.newest(STUDY.id32, hospital.records[0]).subject
    tried = 0
    for path in tmp_path.rglob("*"):
        if not path.is_file() or path.read_bytes()[:15] != b"SQLite format 3":
            continue
        copy = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        for (table,) in copy.execute("select name from sqlite_master where type = 'table'"):
            for row in copy.execute(f'select * from "{table}"'):
                for value in filter(lambda one: isinstance(one, bytes), row):
                    keys = [at_hospital.key_of(value[at : at + 16], STUDY) for at in (0, 16)]
                    keys += [value] if len(value) == 32 else []
                    for key in keys:
                        tried += 1
                        assert signature.address_of(key) != subject
        copy.close()
    assert tried > 4


def test_a_site_that_was_started_anew_knows_nobody(hospital, desk, tmp_path):
    with site_before(desk, tmp_path) as app, visit(app, ORIGIN) as visitor:
        comes_in(visitor, spelled(hospital.letter(0).code))
        assert visitor.get("/home").status_code == 200
        cookies = dict(visitor.cookies)
    with site_before(desk, tmp_path) as app, visit(app, ORIGIN) as visitor:
        visitor.cookies.update(cookies)
        assert visitor.get("/home").headers["location"].startswith("/sign-in")


def test_a_silent_desk_is_said_in_plain_words(hospital, desk, patient):
    comes_in(patient, spelled(hospital.letter(0).code))
    desk.stop()
    answer = patient.get("/home")
    assert "TW3001" in answer.text
    assert "does not answer now" in answer.text


def test_arabic_pages_run_from_right_to_left_in_arabic_only(hospital, patient):
    answer = patient.get("/language/ar", params={"then": "/sign-in"})
    assert answer.headers["location"] == "/sign-in"
    away = patient.get("/language/ar", params={"then": "//evil.example"})
    assert away.headers["location"] == "/"
    comes_in(patient, spelled(hospital.letter(0).code))
    says_yes(patient)
    one = "/studies/0"
    for path in ("/home", one, f"{one}/yes", f"{one}/stop", f"{one}/uses", "/about", "/none"):
        text = patient.get(path).text
        assert '<html lang="ar" dir="rtl">' in text
        other = r'<head.*?</head>|<(\w+) [^>]*\blang="(?!ar")\w+"[^>]*>.*?</\1>'
        plain = re.sub(r"<[^>]+>", " ", re.sub(other, " ", text, flags=re.DOTALL))
        assert set(re.findall(r"[A-Za-z]{3,}", plain)) <= KEPT, path


def test_a_draft_is_offered_read_by_choice_and_marked_wherever_it_is_read(hospital, patient):
    patient.headers["accept-language"] = "de-CH,en;q=0.5"
    door = patient.get("/sign-in").text
    assert '<html lang="en"' in door
    assert "Diese Seite auf Deutsch lesen</a> (Entwurf" in door
    patient.get("/language/de")
    comes_in(patient, spelled(hospital.letter(0).code))
    says_yes(patient)
    notes = [languages()[code].words["draft_note"] for code in ("de", "en")]
    one = "/studies/0"
    for path in ("/home", one, f"{one}/yes", f"{one}/stop", f"{one}/notices", "/about", "/none"):
        text = patient.get(path).text
        assert '<html lang="de" dir="ltr">' in text
        assert [text.count(note) for note in notes] == [1, 1], path
    assert "Sie unterschreiben den englischen Text." in patient.get(f"{one}/yes").text
    (page,) = PdfReader(io.BytesIO(patient.get(f"{one}/receipt.pdf").content)).pages
    assert [page.extract_text().count(note) for note in notes] == [1, 1]


def test_a_hospital_without_drafts_shows_none(hospital, desk, tmp_path):
    with site_before(desk, tmp_path, drafts=False) as app, visit(app, ORIGIN) as visitor:
        visitor.cookies.set("language", "de")
        visitor.headers["accept-language"] = "de"
        door = visitor.get("/sign-in").text
        assert '<html lang="en"' in door
        assert "Deutsch" not in door
        assert visitor.get("/language/de").status_code == 404
        assert visitor.get("/language/ar").status_code == 303
