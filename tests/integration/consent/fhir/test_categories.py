"""Categories that a patient leaves out: as FHIR takes them, tells them and decides with them."""

from dataclasses import replace

import pytest
from fhir.resources.R4B.parameters import Parameters

from consent.fhir.exceptions import CATEGORIES, FORBIDDEN
from consent.fhir.meaning import PURPOSES, SIGNED
from consent.fhir.releases import to_r4, to_r5
from consent.fhir.resource import Release, parse
from consent.policy import Grade
from consent.record import DAY
from consent.study import OptionalCategory
from tests.simulators.consent.record_system import ApiOfAHospital
from tests.simulators.consent.world import HOSPITAL, NOW, STUDY, Patient
from twinward.clock import iso

LEFT_OUT = ("blood pressure", "heart examinations")
ASKS = replace(
    STUDY,
    categories=("age and sex", *LEFT_OUT),
    optional=tuple(OptionalCategory(name, (name,)) for name in LEFT_OUT),
)
STAFF = (Grade.STAFF, Grade.DEVICE)
WHOLE, WITHOUT_FIRST = 1, 1 + 0b01


@pytest.fixture
def api(tmp_path):
    made = ApiOfAHospital(tmp_path, study=ASKS)
    yield made
    made.close()


def concept(*names):
    return [{"coding": [{"system": CATEGORIES, "code": name}], "text": name} for name in names]


def leaving_out(consent, *names, **more):
    nested = [{"type": "deny", "code": concept(*names)} | more]
    return consent | {"provision": consent["provision"] | {"provision": nested}}


def shares(api):
    return api.hospital.cohort(grades=STAFF).permitted()[1].tolist()


def asked(api, number, headers):
    """The answer of `$decide`, by name; all that is withheld."""
    question = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "patient", "valueReference": {"reference": f"Patient/R{number}"}},
            {"name": "study", "valueString": ASKS.name},
        ],
    }
    answer = api.post(question, headers, "/fhir/Consent/$decide").json()
    Parameters.model_validate(answer)
    found = {each["name"]: each for each in answer["parameter"]}
    withheld = [each["valueCoding"] for each in answer["parameter"] if each["name"] == "withheld"]
    return found["decision"]["valueCode"], found["rule"]["valueCode"], withheld


def test_a_yes_on_paper_that_leaves_something_out_counts_for_the_rest(api):
    headers = api.token()
    given = api.post(leaving_out(api.consent(), LEFT_OUT[0]), headers)
    assert given.status_code == 201
    api.hospital.push()
    assert shares(api) == [WITHOUT_FIRST, 0, 0, 0]
    withheld = [{"system": CATEGORIES, "code": LEFT_OUT[0]}]
    assert asked(api, 0, headers) == ("permit", "granted-in-part", withheld)
    assert api.post(api.consent(1), headers).status_code == 201
    api.hospital.push()
    assert asked(api, 1, headers) == ("permit", "granted", [])


def test_a_system_that_speaks_r5_leaves_out_the_same(api):
    headers = api.token()
    sent = to_r5(leaving_out(api.consent(), *LEFT_OUT))
    assert sent["decision"] == "deny"  # nobody who knows no exceptions reads more than was said
    assert "type" not in sent["provision"][0]["provision"][0]
    spoken = headers | {"content-type": "application/fhir+json; fhirVersion=5.0"}
    assert api.post(sent, spoken).status_code == 201
    api.hospital.push()
    assert shares(api) == [1 + 0b11, 0, 0, 0]


def test_what_was_left_out_with_a_wallet_is_told_in_both_releases_and_reads_back(api):
    headers, patient = api.token(), Patient(api.hospital, 1)
    scope = ASKS.scope(HOSPITAL, without=LEFT_OUT[:1])
    patient.grants(patient.grant(scope=scope, names=("heart-research", "not-for-profit")))
    api.hospital.push()
    as_r5 = headers | {"accept": "application/fhir+json; fhirVersion=5.0"}
    (r4,), (r5,) = (
        [one["resource"] for one in api.http.get("/fhir/Consent", headers=each).json()["entry"]]
        for each in (headers, as_r5)
    )
    assert parse(r4, release=Release.R4)["provision"]["provision"] == [
        {"type": "deny", "purpose": [{"system": FORBIDDEN, "code": "for-profit"}]},
        {"type": "deny", "code": concept(LEFT_OUT[0])},
    ]
    assert to_r4(parse(r5, release=Release.R5)) == r4

    patient.grants(patient.grant(nonce=1))  # to the same letter: everything after all
    api.hospital.push()
    history = api.http.get("/fhir/Consent?patient=R1", headers=headers).json()["entry"]
    told = {each["resource"]["status"]: each["resource"]["provision"] for each in history}
    assert "provision" in told["inactive"]
    assert "provision" not in told["active"]
    assert shares(api) == [0, WHOLE, 0, 0]


def test_a_carried_signature_must_leave_out_what_the_consent_leaves_out(api):
    headers, patient = api.token(), Patient(api.hospital, 2)
    grant = patient.grant(scope=ASKS.scope(HOSPITAL, without=LEFT_OUT[:1]))
    carried = {"url": SIGNED, "valueString": patient.body(grant).decode()}
    provision = {
        "type": "permit",
        "period": {"end": iso(grant.expiry - 1)},
        "purpose": [{"system": PURPOSES, "code": "heart-research"}],
    }
    sent = api.consent(2, provision=provision, dateTime=iso(NOW), extension=[carried])
    assert grant.expiry > NOW + DAY
    for other in (sent, leaving_out(sent, *LEFT_OUT), leaving_out(sent, LEFT_OUT[1])):
        assert api.post(other, headers).status_code == 422
    assert api.post(leaving_out(sent, LEFT_OUT[0]), headers).status_code == 201
    api.hospital.push()
    assert shares(api) == [0, 0, WITHOUT_FIRST, 0]


AT = "Consent.provision.provision[0]"


@pytest.mark.parametrize(
    ("nested", "element"),
    [
        ({"type": "deny", "code": concept("age and sex")}, f"{AT}.code[0]"),  # the study needs it
        ({"type": "deny", "code": concept(LEFT_OUT[0], "genes")}, f"{AT}.code[1]"),  # no such
        ({"type": "deny", "code": [{"text": LEFT_OUT[0]}]}, f"{AT}.code[0]"),
        (
            {
                "type": "deny",
                "code": [{"coding": [
                    {"system": CATEGORIES, "code": LEFT_OUT[0]},
                    {"system": "http://loinc.org", "code": "85354-9"},
                ]}],
            },
            f"{AT}.code[0]",
        ),
        (
            {"type": "deny", "code": [{"coding": [{"system": "x", "code": LEFT_OUT[0]}]}]},
            f"{AT}.code[0]",
        ),
        ({"type": "permit", "code": concept(LEFT_OUT[0])}, f"{AT}.type"),
        (
            {
                "type": "deny", "code": concept(LEFT_OUT[0]),
                "purpose": [{"system": FORBIDDEN, "code": "for-profit"}],
            },
            f"{AT}.code",
        ),
        (
            {"type": "deny", "code": concept(LEFT_OUT[0]), "period": {"end": "2027"}},
            f"{AT}.period",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_left_out_is_refused_by_its_element_and_nothing_is_kept(
    api, nested, element
):
    sent = api.consent()
    sent["provision"]["provision"] = [nested]
    answer = api.post(sent, api.token())
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"] == [element]
    assert api.hospital.vault.newest(ASKS.id32, api.hospital.records[0]) is None


def test_a_permission_limited_to_categories_is_not_taken_for_the_whole(api):
    """A `code` beside the purposes permits those data only; what it leaves out cannot be known."""
    sent = api.consent()
    sent["provision"]["code"] = concept("age and sex")
    answer = api.post(sent, api.token())
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"] == ["Consent.provision.code"]


def test_what_can_be_left_out_is_offered_in_the_words_that_are_taken(api):
    headers = api.token()
    offered = api.http.get("/fhir/Consent/$offers", headers=headers).json()
    Parameters.model_validate(offered)
    codings = [
        part["valueCoding"]
        for part in offered["parameter"][0]["part"]
        if part["name"] == "optional"
    ]
    assert codings == [each["coding"][0] for each in concept(*LEFT_OUT)]
    sent = api.consent()
    sent["provision"]["provision"] = [{"type": "deny", "code": [{"coding": codings[1:]}]}]
    assert api.post(sent, headers).status_code == 201
