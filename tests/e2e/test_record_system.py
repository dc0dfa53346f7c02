"""Flow *consent* through a hospital's record system: FHIR at a node that is up, in a run."""

import json
import ssl
import time
from contextlib import closing, contextmanager

import httpx
import pytest

from consent.fhir.meaning import PURPOSES, SIGNED, policy_uri
from consent.patient_keys import Answer, Choice
from consent.terms import terms
from hospital_node.consents import open_vault
from hospital_node.paths import FHIR
from tests.simulators.consent.record_system import ASSERTION_TYPE, RecordSystem
from tests.simulators.network import eventually
from twinward import canonical
from twinward.clock import iso
from twinward.demo.stage import free_ports
from twinward.organisation import Organisation

pytestmark = pytest.mark.slow
SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"


@contextmanager
def record_system(network, name):
    """A client of the running node's API, let in by its own key, as `docs/fhir.md` says."""
    folder, port, system = network.folder / name, free_ports(1), RecordSystem("ehr")
    keys = folder / "ehr.jwks"
    keys.write_text(json.dumps({"keys": [system.key.as_dict(private=False)]}))
    scopes = "system/Consent.rs system/Consent.cu"
    (folder / FHIR).write_text(
        f'port = {port}\n[[clients]]\nname = "ehr"\njwks = "ehr.jwks"\n'
        f"scopes = {json.dumps(scopes.split())}\n"
    )
    network.stop(name)
    network.up(name)
    trusted = ssl.create_default_context(cafile=Organisation(folder).tls.ca)
    try:
        with httpx.Client(base_url=f"https://127.0.0.1:{port}/fhir", verify=trusted) as http:
            token = http.get("/.well-known/smart-configuration").json()["token_endpoint"]
            form = {
                "grant_type": "client_credentials",
                "scope": scopes,
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": system.assertion(now=time.time(), aud=token),
            }
            assert http.get("/Consent").status_code == 401
            answer = http.post(token, data=form)
            assert answer.status_code == 200, answer.text
            http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
            yield http
    finally:
        (folder / FHIR).unlink()
        keys.unlink()
        network.stop(name)
        network.up(name)


def a_signed_yes(network, name):
    """What a patient who had said no signs now: the wallet's entry, record, Consent."""
    with network.wallet() as wallet:
        entry = next(
            one
            for one in wallet.entries()
            if (one.letter.hospital, one.letter.study.name) == (name, network.study)
            and one.answer is Answer.REFUSED
        )
        letter = entry.letter
        choice = Choice((), until=time.time() + 400 * 86_400)
        shown = terms(letter.study, hospital=name)
        (signed,) = wallet.sign_grants([entry], shown, choice=choice, at=time.time())
    vault = open_vault(network.folder / name)
    with closing(vault.store):
        record = vault.enrolment(letter.code).record
    patient = {"reference": f"Patient/{record}"}
    end = iso(signed["grant"]["expiry"] - 1)
    return entry, record, {
        "resourceType": "Consent",
        "extension": [{"url": SIGNED, "valueString": canonical.encode(signed).decode()}],
        "status": "active",
        "scope": {"coding": [{"system": SCOPE, "code": "research"}]},
        "category": [{"text": "study"}],
        "patient": patient,
        "dateTime": iso(time.time()),
        "performer": [patient],
        "organization": [{"reference": f"Organization/{name}"}],
        "sourceReference": {"reference": "DocumentReference/screen-1"},
        "policy": [{"uri": policy_uri(letter.study, name)}],
        "provision": {
            "type": "permit",
            "period": {"end": end},
            "purpose": [{"system": PURPOSES, "code": letter.study.purpose}],
        },
    }  # fmt: skip


def decided(http, record, study):
    question = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "patient", "valueReference": {"reference": f"Patient/{record}"}},
            {"name": "study", "valueString": study},
        ],
    }
    answer = http.post("/Consent/$decide", json=question)
    found = {one["name"]: one for one in answer.json().get("parameter", ())}
    return found["decision"]["valueCode"] if found else answer.status_code


def test_a_record_system_gives_a_yes_reads_it_and_ends_it_within_a_step_of_a_run(network):
    name = network.hospitals[2]
    before = network.cohort(name)
    with record_system(network, name) as http:
        entry, record, yes = a_signed_yes(network, name)
        given = http.post("/Consent", json=yes)
        assert given.status_code == 201, given.text
        consent = given.json()["id"]
        eventually(lambda: network.cohort(name) == before + 1)
        eventually(lambda: decided(http, record, network.study) == "permit")
        (found,) = http.get("/Consent", params={"patient": record}).json()["entry"]
        assert (found["resource"]["id"], found["resource"]["status"]) == (consent, "active")

        run = network.run()
        at = run.until("step", step=8)["step"]
        ended = http.put(f"/Consent/{consent}", json=given.json() | {"status": "inactive"})
        assert ended.status_code == 200, ended.text
        assert network.cohort(name) == before
        assert decided(http, record, network.study) == "deny"
        assert run.end().release, run.last
        history = http.get(f"/Consent/{consent}/_history").json()["entry"]
        assert [one["resource"]["status"] for one in history] == ["inactive", "active"]
    listed = network.stage.command("node", "withdrawals", name, "--all")["withdrawals"]
    steps = [one["excluded_from_step"] for one in listed if one["excluded_from_step"]]
    assert any(at < step <= run.release["attempts"] + 1 for step in steps)
    assert record.encode() not in (network.folder / name / "state" / "fhir.sqlite").read_bytes()
    eventually(lambda: network.waiting(name) == 0)
    network.withdraw(entry.reference)  # the wallet of the tests that follow is to know it too
    network.wait_for_consents()
