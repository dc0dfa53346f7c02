"""Who may answer for a patient: named and ended on the page, and never more than the patient."""

import html
import re
from datetime import UTC, datetime

import pytest

from consent.policy import Rule
from consent.portal.codes import read, spelled
from consent.purposes import bits
from consent.record import DAY
from consent.register import Register
from consent.standing import Mandate, Role, Standing
from tests.simulators.consent.world import STUDY, Hospital, Patient
from tests.simulators.portal import (
    ORIGIN,
    comes_in,
    keeps_a_book,
    post,
    says_yes,
    stops,
    used,
)
from tests.simulators.web.client import visit
from twinward import canonical
from twinward.errors import ConsentError

PAGE = "/studies/0/delegates"


@pytest.fixture
def hospital(tmp_path):
    (tmp_path / "audit").mkdir()
    with keeps_a_book(Hospital(tmp_path / "hospital"), tmp_path / "audit") as made:
        yield made


@pytest.fixture
def friend(site):
    with visit(site, ORIGIN) as visitor:
        yield visitor


def day(hospital, days):
    return datetime.fromtimestamp(hospital.clock.now() + days * DAY, tz=UTC).date().isoformat()


def names(hospital, patient, *, holder="Aunt Mia", says="all", days=30):
    """The answer to the form, and the code on it."""
    fields = {"holder": holder, "says": says, "until": day(hospital, days)}
    answer = post(patient, PAGE, PAGE, **fields)
    found = re.search(r"<code>([0-9A-Z-]{30,})</code>", answer.text)
    return answer, found and found[1]


def ends(patient, number=1):
    return post(patient, f"{PAGE}/end", PAGE, number=str(number))


def lines(patient):
    return re.findall(r"UTC: ([^<(]+?)\s*(?:<|\n)", patient.get("/studies/0/uses").text)


def refused(answer, code):
    assert answer.status_code >= 400
    assert code in answer.text


def test_whom_the_patient_names_stops_and_says_no_yes(hospital, patient, friend):
    says_yes(patient)
    answer, code = names(hospital, patient, says="stop")
    assert "Give this code to Aunt Mia" in answer.text
    comes_in(friend, code)
    assert "You answer for someone else here" in friend.get("/home").text
    assert stops(friend).status_code == 303
    assert not used(hospital, 0)
    hospital.push()
    assert "/studies/0/yes" not in friend.get("/home").text
    refused(says_yes(friend), "TW8164")
    assert not used(hospital, 0)
    told = lines(patient)
    assert told[0] == "Someone who answers for you stopped."
    assert "You named someone who may answer for you." in told


def test_a_delegates_yes_holds_until_the_patient_ends_it_and_then_the_code_opens_nothing(
    hospital, patient, friend
):
    _, code = names(hospital, patient)
    comes_in(friend, code)
    assert says_yes(friend).status_code == 303
    assert used(hospital, 0)
    assert ends(patient).headers["location"] == PAGE
    assert not used(hospital, 0)
    for answer in (friend.get("/home"), friend.get("/studies/0/uses"), stops_late(friend)):
        refused(answer, "TW8160")
    assert "TW8160" in comes_in(friend, code).text
    assert "It ended on" in patient.get(PAGE).text
    assert lines(patient)[:2] == [
        "You ended that someone may answer for you.", "Someone who answers for you said yes.",
    ]  # fmt: skip


def stops_late(visitor):
    """The form of a page that was open before the end."""
    token = re.search(r'name="csrf" value="([^"]+)"', visitor.get("/sign-in").text)[1]
    return visitor.post("/studies/0/stop", data={"csrf": token}, headers={"origin": visitor.origin})


def test_time_alone_ends_it(hospital, patient, friend):
    _, code = names(hospital, patient, days=2)
    comes_in(friend, code)
    says_yes(friend)
    assert used(hospital, 0)
    hospital.clock.at += 2 * DAY
    assert not used(hospital, 0)
    assert "TW8160" in comes_in(friend, code).text


def test_a_delegate_says_yes_to_no_more_than_the_patient_did(hospital, patient, friend):
    says_yes(patient, **{"not-for-profit": "1"})
    _, code = names(hospital, patient)
    stops(patient)
    comes_in(friend, code)
    wide = post(friend, "/studies/0/preview", "/studies/0/yes").text
    assert "may not say yes to this" in wide
    says_yes(friend)
    assert hospital.cohort(grades=["signed-at-hospital"]).explain(hospital.records[0]).rule is (
        Rule.MANDATE_EXCEEDED
    )
    stops(friend)
    says_yes(friend, **{"not-for-profit": "1"})
    assert used(hospital, 0)


def test_a_delegate_names_nobody_ends_nobody_and_reads_of_no_other(hospital, patient, friend):
    names(hospital, patient, holder="Uncle Ben")
    _, code = names(hospital, patient)
    comes_in(friend, code)
    page = friend.get(PAGE).text
    assert ("Aunt Mia" in page, "Uncle Ben" in page) == (True, False)
    assert "<form" not in re.search(r"<main.*</main>", page, re.DOTALL)[0]
    body = {"code": read(code).hex(), "study": STUDY.id32.hex()}
    until = int(hospital.clock.now()) + DAY
    told = {"holder": "Me", "says": "all", "until": until}
    for call, more in (
        (hospital.desk.grant, {"delegate": told}), (hospital.desk.withdraw, {"mandate": 1}),
    ):  # fmt: skip
        with pytest.raises(ConsentError) as caught:
            call(canonical.encode(body | more))
        assert caught.value.code == "TW8161"


@pytest.mark.parametrize("role", [Role.GUARDIAN, Role.DELEGATE])
def test_whom_staff_wrote_down_is_shown_and_not_ended_with_a_letter(hospital, patient, role):
    now = int(hospital.clock.now())
    given = Mandate(role, bits(["heart-research"]), now, now + 30 * DAY)
    register = Register(hospital.vault)
    number = register.give(hospital.records[0], given, holder="The <b>mother</b>")
    page = patient.get(PAGE).text
    assert "The <b>mother</b>" in html.unescape(page)
    assert "<b>mother" not in page
    assert "End this now" not in page
    refused(ends(patient, number), "TW8163")
    assert register.mandates(hospital.records[0])[0].mandate.ends == now + 30 * DAY


def test_nobody_ends_whom_another_patient_named(hospital, patient, site):
    names(hospital, patient)
    with visit(site, ORIGIN) as stranger:
        comes_in(stranger, spelled(hospital.letter(1).code))
        refused(ends(stranger, 1), "TW8071")
    body = {"code": hospital.letter(1).code.hex(), "study": STUDY.id32.hex(), "mandate": 1}
    with pytest.raises(ConsentError) as caught:
        hospital.desk.withdraw(canonical.encode(body))
    assert caught.value.code == "TW8163"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"holder": " "}, "TW8162"), ({"holder": "x" * 61}, "TW8162"),
        ({"holder": "Mia\u202e"}, "TW8162"), ({"days": 0}, "TW8162"), ({"days": 2000}, "TW8162"),
        ({"says": "everything"}, "TW8071"),
    ],
)  # fmt: skip
def test_half_a_naming_is_refused_and_not_kept(hospital, patient, change, code):
    answer, made = names(hospital, patient, **change)
    refused(answer, code)
    assert made is None
    assert Register(hospital.vault).mandates(hospital.records[0]) == []


def test_five_are_enough_and_an_ended_one_makes_room(hospital, patient):
    for _ in range(5):
        assert names(hospital, patient)[1]
    refused(names(hospital, patient)[0], "TW8162")
    ends(patient, 2)
    assert names(hospital, patient)[1]


def test_a_child_names_nobody_and_becomes_no_adult_through_somebody(hospital, patient, friend):
    register, now = Register(hospital.vault), int(hospital.clock.now())
    _, code = names(hospital, patient)
    register.note(hospital.records[0], Standing(of_age_at=now + 10 * DAY))
    refused(names(hospital, patient)[0], "TW8161")
    comes_in(friend, code)
    says_yes(friend)
    assert not used(hospital, 0)


def test_whom_the_patient_named_does_not_lift_the_patients_objection(hospital, patient, friend):
    _, code = names(hospital, patient)
    hospital.clock.at += 10
    Register(hospital.vault).note(
        hospital.records[0], Standing(objected_at=int(hospital.clock.now()))
    )
    hospital.clock.at += 10
    comes_in(friend, code)
    says_yes(friend)
    assert not used(hospital, 0)
    patient_again = Patient(hospital, 0)
    stops(friend)
    patient_again.grants()
    hospital.push()
    assert used(hospital, 0)


def test_the_code_of_a_delegate_lies_on_no_disk(hospital, patient, tmp_path):
    _, code = names(hospital, patient)
    secret = read(code)
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for spelling in (secret, secret.hex().encode(), code.encode(), b"Aunt Mia"):
        assert not any(spelling in data for data in files)
