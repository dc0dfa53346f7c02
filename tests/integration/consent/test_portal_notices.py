"""The page on which a patient chooses mails; what is sent has tests beside the node."""

import re
from contextlib import closing

import pytest

from consent.notices import Notices
from consent.portal.codes import spelled
from tests.simulators.consent.world import Hospital
from tests.simulators.portal import ORIGIN, comes_in, post, running_desk, site_before
from tests.simulators.web.client import visit

PAGE = "/studies/0/notices"


@pytest.fixture
def mails(tmp_path):
    with closing(Notices.open(tmp_path / "notices.sqlite", key=b"n" * 32)) as made:
        yield made


@pytest.fixture
def hospital(tmp_path, mails):
    return Hospital(tmp_path / "hospital", notices=mails)


@pytest.fixture
def visitors(hospital, tmp_path):
    with (
        running_desk(hospital, tmp_path) as desk,
        site_before(desk, tmp_path) as app,
        visit(app, ORIGIN) as patient,
        visit(app, ORIGIN) as other,
    ):
        comes_in(patient, spelled(hospital.letter(0).code))
        yield patient, other


def choose(patient, *kinds, address="p@mail.example"):
    return post(patient, PAGE, PAGE, address=address, **dict.fromkeys(kinds, "1"))


def code_of(mails, hospital):
    (mail,) = mails.due(int(hospital.clock.now()))
    mails.sent(mail)
    return mail.code


def test_off_until_asked_for_and_confirmed_and_off_again(hospital, mails, visitors):
    patient, _ = visitors
    record = hospital.records[0]
    assert "We send you no mails." in patient.get(PAGE).text
    assert choose(patient, "study", "delegate").headers["location"] == PAGE
    assert "We mailed a code to:" in patient.get(PAGE).text
    assert mails.readers() == []
    code = code_of(mails, hospital)
    wrong = post(patient, f"{PAGE}/code", PAGE, code="1" + code)
    assert (wrong.status_code, "TW8172" in wrong.text) == (403, True)
    assert post(patient, f"{PAGE}/code", PAGE, code=f" {code} ").status_code == 303
    page = patient.get(PAGE).text
    assert "We mail you at:" in page
    assert re.findall(r'name="(\w+)" value="1" checked', page) == ["study", "delegate"]
    choose(patient, "result")
    assert mails.of(record).kinds == ("result",), "the same address needs no second code"
    assert mails.of(record).confirmed
    choose(patient, "result", address="new@mail.example")
    assert not mails.of(record).confirmed
    post(patient, f"{PAGE}/end", PAGE)
    assert mails.of(record) is None
    assert "We send you no mails." in patient.get(PAGE).text


@pytest.mark.parametrize("kinds", [(), ("study",)], ids=["nothing", "no-address"])
def test_half_a_choice_is_refused(hospital, mails, visitors, kinds):
    answer = choose(visitors[0], *kinds, address="p@mail.example" if not kinds else "nobody")
    assert (answer.status_code, "TW8170" in answer.text) == (403, True)
    assert mails.of(hospital.records[0]) is None


def test_the_address_that_does_not_work_is_said(hospital, mails, visitors):
    patient, _ = visitors
    choose(patient, "study")
    (mail,) = mails.due(int(hospital.clock.now()))
    mails.refuse(mail)
    assert "Mails can not be sent to this address." in patient.get(PAGE).text


def test_who_answers_for_a_patient_neither_reads_nor_chooses_the_address(hospital, mails, visitors):
    patient, friend = visitors
    choose(patient, "study")
    made = post(
        patient, "/studies/0/delegates", "/studies/0/delegates",
        holder="Mia", says="all", until="2027-05-05",
    )  # fmt: skip
    comes_in(friend, re.search(r"<code>([0-9A-Z-]{30,})</code>", made.text)[1])
    assert "/notices" not in friend.get("/studies/0").text
    assert friend.get(PAGE).status_code == 404
    gone = post(friend, f"{PAGE}/end", "/studies/0/stop")
    assert gone.status_code == 404
    assert mails.of(hospital.records[0]) is not None


def test_a_hospital_that_sends_none_says_so(tmp_path):
    hospital = Hospital(tmp_path / "hospital")
    with (
        running_desk(hospital, tmp_path) as desk,
        site_before(desk, tmp_path) as app,
        visit(app, ORIGIN) as patient,
    ):
        comes_in(patient, spelled(hospital.letter(0).code))
        assert "sends no mails" in patient.get(PAGE).text
        refused = post(patient, PAGE, "/studies/0/stop", address="p@mail.example", study="1")
        assert "TW8173" in refused.text
