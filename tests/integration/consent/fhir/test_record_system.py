"""A record system gives, reads, finds and withdraws consents, and asks for decisions."""

import json

import pytest
from fhir.resources.R4B.auditevent import AuditEvent
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from fhir.resources.R4B.parameters import Parameters

from consent import purposes
from consent.fhir.exceptions import FORBIDDEN
from consent.fhir.meaning import PURPOSES, SIGNED
from consent.fhir.releases import to_r4
from consent.fhir.resource import Release, parse
from consent.policy import Grade
from consent.record import DAY
from ledger.audit import fhir, profiles
from tests.simulators.consent.record_system import ApiOfAHospital
from tests.simulators.consent.world import NOW, STUDY, Patient
from twinward.clock import iso

STAFF = (Grade.STAFF, Grade.DEVICE)


@pytest.fixture
def api(tmp_path):
    made = ApiOfAHospital(tmp_path)
    yield made
    made.close()


def used(api, number):
    return bool(api.hospital.cohort(grades=STAFF).mask()[number])


def test_a_yes_on_paper_is_given_read_used_and_withdrawn(api):
    headers = api.token()
    given = api.post(api.consent(), headers)
    assert given.status_code == 201
    assert ("attested", "R0", STUDY.id32, "ehr/Nurse One") in api.told
    name = given.json()["id"]
    assert given.headers["location"].endswith(f"/Consent/{name}/_history/1")
    api.hospital.push()
    assert used(api, 0)
    assert api.decide(0, headers) == ("permit", "granted")

    read = api.http.get(f"/fhir/Consent/{name}", headers=headers)
    parse(read.json(), release=Release.R4)
    assert read.headers["etag"] == 'W/"1"'
    assert read.json()["sourceReference"] == {"reference": "DocumentReference/paper-1"}

    ended = api.http.put(
        f"/fhir/Consent/{name}",
        content=json.dumps({"resourceType": "Consent", "id": name, "status": "inactive"}),
        headers=headers | {"if-match": 'W/"1"'},
    )
    assert (ended.status_code, ended.json()["status"]) == (200, "inactive")
    assert not used(api, 0)
    assert api.decide(0, headers) == ("deny", "withdrawn-here")
    assert ("withdrew", "R0", "ehr") in api.told
    history = api.http.get(f"/fhir/Consent/{name}/_history", headers=headers).json()
    assert Bundle.model_validate(history).total == 2
    first = api.http.get(f"/fhir/Consent/{name}/_history/1", headers=headers).json()
    assert first["status"] == "active"


def test_what_a_patient_did_elsewhere_is_seen_here(api):
    headers, patient = api.token(), Patient(api.hospital, 1)
    patient.grants(patient.grant(names=("heart-research", "not-for-profit")))
    found = api.http.get("/fhir/Consent?patient=Patient/R1", headers=headers).json()
    (entry,) = Bundle.model_validate(found).model_dump(mode="json")["entry"]
    provision = entry["resource"]["provision"]
    assert provision["purpose"] == [{"system": PURPOSES, "code": "heart-research"}]
    forbidden = [{"system": FORBIDDEN, "code": "for-profit"}]
    assert provision["provision"] == [{"type": "deny", "purpose": forbidden}]
    patient.withdraws()
    found = api.http.get("/fhir/Consent?patient=R1&status=inactive", headers=headers).json()
    assert found["total"] == 1


def test_what_many_patients_did_waits_for_the_disk_once(tmp_path):
    api = ApiOfAHospital(tmp_path, patients=40)
    for number in range(40):
        Patient(api.hospital, number).grants()
    headers, said = api.token(), []
    api.versions.store._connection.set_trace_callback(said.append)
    found = api.http.get("/fhir/Consent?_count=50", headers=headers).json()
    api.versions.store._connection.set_trace_callback(None)
    assert found["total"] == 40
    assert (
        said.count("begin immediate") == 2
    )  # all versions, and up to where the vault was followed
    api.close()


def test_a_patients_own_signature_is_carried_and_must_say_the_same(api):
    headers, patient = api.token(), Patient(api.hospital, 2)
    grant = patient.grant(names=("health-research",))
    carried = {"url": SIGNED, "valueString": patient.body(grant).decode()}
    period = {"end": iso(grant.expiry - 1)}
    reason = [{"system": PURPOSES, "code": "health-research"}]
    whole = {"type": "permit", "period": period, "purpose": reason}
    wider = whole | {"purpose": [{"system": PURPOSES, "code": "any-use"}]}
    for changed in (
        {"provision": wider},
        {"provision": whole | {"period": {"end": iso(grant.expiry + DAY - 1)}}},
        {"patient": {"reference": "Patient/R3"}, "performer": [{"reference": "Patient/R3"}]},
    ):
        sent = api.consent(2, provision=whole, dateTime=iso(NOW), extension=[carried]) | changed
        assert api.post(sent, headers).status_code == 422
    sent = api.consent(2, provision=whole, dateTime=iso(NOW), extension=[carried])
    first, again = api.post(sent, headers), api.post(sent, headers)
    assert (first.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert patient.letter.code.hex() not in first.text
    assert api.hospital.vault.newest(STUDY.id32, patient.record).grade == Grade.DEVICE


def test_a_no_is_taken_however_it_is_written(api):
    headers, patient = api.token(), Patient(api.hospital, 3)
    patient.grants()
    api.hospital.push()
    assert used(api, 3)
    no = {
        "resourceType": "Consent",
        "patient": {"reference": "Patient/R3"},
        "unheard": [None],
        "provision": {"type": "deny", "provision": "?"},
    }
    taken = api.post(no, headers)
    assert taken.status_code == 201
    parse(taken.json(), release=Release.R4)
    assert not used(api, 3)
    assert api.decide(3, headers) == ("deny", "objected")
    assert ("objected", "R3", "ehr") in api.told


def test_staff_cannot_outrank_a_later_withdrawal_or_a_yes_that_stands(api):
    headers = api.token()
    assert api.post(api.consent(), headers).status_code == 201
    assert api.post(api.consent(), headers).status_code == 409
    patient = Patient(api.hospital, 1)
    patient.grants()
    patient.withdraws_by_code()
    assert api.post(api.consent(1), headers).status_code == 422
    assert not used(api, 1)


@pytest.mark.parametrize(
    ("change", "element"),
    [
        ({"dataPeriod": {"end": "2020"}}, "Consent.provision.dataPeriod"),
        ({"securityLabel": [{"code": "PSY"}]}, "Consent.provision.securityLabel"),
        (
            {"data": [{"meaning": "instance", "reference": {"reference": "Task/1"}}]},
            "Consent.provision.data",
        ),
        ({"purpose": [{"system": PURPOSES, "code": "marketing"}]}, "Consent.provision.purpose[0]"),
        ({"provision": [{"type": "permit"}]}, "Consent.provision.provision[0].type"),
        ({"period": {"start": "2020"}}, "Consent.provision.period.end"),
    ],
)
def test_a_condition_that_training_cannot_keep_to_is_refused_by_name(api, change, element):
    sent = api.consent()
    answer = api.post(sent | {"provision": sent["provision"] | change}, api.token())
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["expression"] == [element]
    assert api.hospital.vault.newest(STUDY.id32, api.hospital.records[0]) is None


def test_search_pages_through_all_and_looks_at_period_and_time(api):
    headers = api.token()
    for number in range(4):
        assert api.post(api.consent(number), headers).status_code == 201
    seen, address = [], "/fhir/Consent?_count=3"
    while address:
        page = api.http.get(address, headers=headers).json()
        assert page["total"] == 4
        seen += [each["resource"]["id"] for each in page.get("entry", [])]
        links = {each["relation"]: each["url"] for each in page["link"]}
        address = links.get("next", "").removeprefix("https://harbour.example:8443")
    assert len(set(seen)) == len(seen) == 4
    for query, total in (
        ("period=ge2031-01-02", 0),
        ("period=le2026", 4),
        ("_lastUpdated=lt2020", 0),
        ("_lastUpdated=gt2020&status=active,inactive", 4),
    ):
        found = api.http.get(f"/fhir/Consent?{query}", headers=headers).json()
        assert found["total"] == total, query
    assert api.http.get("/fhir/Consent?flavour=1", headers=headers).status_code == 400


def test_everything_that_is_served_can_be_exported_as_r5_and_comes_back(api):
    headers = api.token()
    name = api.post(api.consent(), headers).json()["id"]
    r4 = api.http.get(f"/fhir/Consent/{name}", headers=headers).json()
    asked = headers | {"accept": "application/fhir+json; fhirVersion=5.0"}
    r5 = api.http.get(f"/fhir/Consent/{name}", headers=asked)
    assert "fhirVersion=5.0" in r5.headers["content-type"]
    assert to_r4(parse(r5.json(), release=Release.R5)) == r4


def test_without_a_fresh_ledger_nothing_is_decided(api):
    headers = api.token()
    api.is_ledger_known = False
    status, said = api.decide(0, headers)
    assert status == 503
    assert said["issue"][0]["code"] == "transient"
    assert not [each for each in api.told if each[0] == "decided"]


def test_a_stale_version_is_not_withdrawn_by_if_match_but_without_it_always(api):
    headers = api.token()
    name = api.post(api.consent(), headers).json()["id"]
    body = json.dumps({"resourceType": "Consent", "status": "inactive"})
    put = lambda **more: api.http.put(  # noqa: E731
        f"/fhir/Consent/{name}", content=body, headers=headers | more
    )
    assert put(**{"if-match": 'W/"7"'}).status_code == 412
    assert put().status_code == 200


def test_what_it_says_of_itself_is_fhir(api):
    CapabilityStatement.model_validate(api.http.get("/fhir/metadata").json())
    offers = api.http.get("/fhir/Consent/$offers", headers=api.token()).json()
    Parameters.model_validate(offers)
    assert STUDY.name in json.dumps(offers)
    assert api.http.get("/fhir/.well-known/smart-configuration").json()["capabilities"]


def test_a_decision_is_entered_as_the_profile_wants_it(api):
    headers = api.token()
    api.decide(0, headers)
    (_, study, record, digest, decision, client) = api.told[-1]
    assert (study.name, record, digest, client) == (STUDY.name, "R0", None, "ehr")
    event = fhir.consent_decision(
        org="cleveland", patient=record, study=study.name, consent="none",
        permit=decision.permit, rule=decision.rule, at=NOW, client=f"fhir-client:{client}",
    )  # fmt: skip
    assert profiles.problems(event) == []
    AuditEvent.model_validate(event)


def test_a_purpose_keeps_its_meaning_there_and_back(api):
    """Every mask that a patient can sign reads back as the same one."""
    from dataclasses import replace

    from consent.fhir import exceptions
    from consent.fhir.meaning import _mask, written
    from tests.simulators.consent.world import HOSPITAL

    patient = Patient(api.hospital, 0)
    patient.grants()
    kept = api.hospital.vault.newest(STUDY.id32, patient.record)
    plain = [
        row for row in purposes.RESTRICTIONS if row.name not in ("time-limit", purposes.BY_STAFF)
    ]
    for row in plain:
        for purpose in purposes.PURPOSES:
            mask = purposes.bits([purpose.name, row.name])
            resource = written(
                replace(kept, grant=replace(kept.grant, purposes=mask)), STUDY, HOSPITAL
            )
            provision = parse(resource, release=Release.R4)["provision"]
            limits = exceptions.read(provision, STUDY).limits
            assert _mask(provision, HOSPITAL) | purposes.bits(limits) == mask
