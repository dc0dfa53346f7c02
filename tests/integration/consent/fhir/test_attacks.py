"""Who is no client, or not that client, gets no token; a token opens what its scopes say."""

import json

import httpx
import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from tests.simulators.consent.record_system import ApiOfAHospital, RecordSystem


@pytest.fixture
def api(tmp_path):
    made = ApiOfAHospital(tmp_path)
    yield made
    made.close()


def refused(answer, word="invalid_client", status=401):
    assert (answer.status_code, answer.json()["error"]) == (status, word)
    return True


def test_an_assertion_counts_for_its_own_client_server_and_time(api):
    now = api.hospital.clock.now()
    for changes in (
        {"iss": "portal"},
        {"sub": "portal"},
        {"iss": "portal", "sub": "portal"},
        {"iss": "nobody", "sub": "nobody"},
        {"aud": "https://elsewhere.example/fhir/token"},
        {"aud": None},
        {"exp": int(now) - 1},
        {"exp": int(now) + 86_400},
        {"exp": "soon"},
        {"exp": True},
        {"nbf": int(now) + 100},
        {"jti": ""},
        {"jti": 7},
    ):
        assert refused(api.ask_token(api.system.assertion(now=now, **changes))), changes


def test_an_assertion_counts_once_also_after_a_restart(api):
    assertion = api.system.assertion(now=api.hospital.clock.now())
    assert api.ask_token(assertion).status_code == 200
    assert refused(api.ask_token(assertion))
    assert api.versions.store.row("select count(*) from assertions") == (1,)


def test_no_other_key_and_no_other_algorithm(api):
    now, named = api.hospital.clock.now(), {"kid": "one"}
    other = ECKey.generate_key("P-384", named, private=True)
    assert refused(api.ask_token(api.system.assertion(now=now, key=other)))
    weak = ECKey.generate_key("P-256", named, private=True)
    assert refused(api.ask_token(api.system.assertion(now=now, key=weak, header={"alg": "ES256"})))
    secret = OctKey.generate_key(384, named, private=True)
    hmac = api.system.assertion(now=now, key=secret, header={"alg": "HS384"})
    assert refused(api.ask_token(hmac))
    _, payload, _ = api.system.assertion(now=now).split(".")
    none = "eyJhbGciOiJub25lIiwia2lkIjoib25lIn0"
    assert refused(api.ask_token(f"{none}.{payload}."))
    for broken in ("", "a.b.c", "....", "x" * 9000, "é.é.é"):
        assert refused(api.ask_token(broken))


def test_rsa_keys_serve_as_well(tmp_path):
    api = ApiOfAHospital(tmp_path)
    key = RSAKey.generate_key(2048, {"kid": "one"}, private=True)
    system = RecordSystem("ehr", key)
    api.tokens._clients["ehr"] = system.client()
    assertion = system.assertion(now=api.hospital.clock.now(), header={"alg": "RS384"})
    assert api.ask_token(assertion).status_code == 200
    api.close()


def test_a_scope_that_is_not_the_clients_is_not_given(api):
    assertion = api.other.assertion(now=api.hospital.clock.now())
    assert refused(api.ask_token(assertion, "system/Consent.cu"), "invalid_scope", 400)


def test_a_token_opens_what_its_scope_says_and_ends(api):
    headers = api.token(scope="system/Consent.rs")
    name = api.post(api.consent(), api.token()).json()["id"]
    put = {"content": json.dumps({"resourceType": "Consent", "status": "inactive"})}
    assert api.post(api.consent(1), headers).status_code == 403
    assert api.http.put(f"/fhir/Consent/{name}", headers=headers, **put).status_code == 403
    assert api.http.get("/fhir/Consent", headers=headers).status_code == 200
    writes = api.token(scope="system/Consent.cu")
    assert api.http.get(f"/fhir/Consent/{name}", headers=writes).status_code == 403
    assert api.decide(0, writes)[0] == 403
    api.hospital.clock.at = api.hospital.clock.now() + 301
    assert api.http.get("/fhir/Consent", headers=headers).status_code == 401


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Basic ZWhyOng=", "bearer \x7f"])
def test_without_a_token_nothing_is_told_or_changed(api, header):
    headers = {"authorization": header}
    for answer in (
        api.http.get("/fhir/Consent?patient=R0", headers=headers),
        api.post(api.consent(), headers),
        api.http.put("/fhir/Consent/x", content="{}", headers=headers),
    ):
        assert answer.status_code == 401
        assert answer.json()["resourceType"] == "OperationOutcome"
    assert api.told == []


def test_another_patients_consent_cannot_be_taken_over(api):
    headers = api.token()
    name = api.post(api.consent(), headers).json()["id"]
    for changed in (
        {"patient": {"reference": "Patient/R1"}},
        {"id": "another"},
        {"status": "active"},
        {"resourceType": "Patient"},
    ):
        body = {"resourceType": "Consent", "status": "inactive"} | changed
        answer = api.http.put(f"/fhir/Consent/{name}", content=json.dumps(body), headers=headers)
        assert answer.status_code == 422, changed
    stranger = api.consent() | {"patient": {"reference": "Patient/STRANGER"}}
    stranger["performer"] = [stranger["patient"]]
    assert api.post(stranger, headers).status_code == 422
    assert api.decide(0, headers)[1] != "withdrawn-here"


def test_bodies_that_are_no_json_or_too_large_change_nothing(api):
    headers = api.token()
    for content in (
        b"",
        b"{",
        b"\xff",
        b"[" * 60_000,
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b"x" * 70_000,
    ):
        answer = api.http.post("/fhir/Consent", content=content, headers=headers)
        assert answer.status_code in (400, 413), content[:10]
        assert answer.json()["resourceType"] == "OperationOutcome"


def test_who_asks_too_often_waits(tmp_path):
    api = ApiOfAHospital(tmp_path, burst=2)
    answers = [api.http.get("/fhir/Consent").status_code for _ in range(4)]
    api.close()
    assert 429 in answers


def test_what_is_forgotten_is_in_no_file(api):
    headers = api.token()
    assert api.post(api.consent(), headers).status_code == 201
    assert api.versions.forget(api.hospital.records[0]) == 1
    assert isinstance(api.http.get("/fhir/Consent", headers=headers), httpx.Response)
    assert api.versions.store.row("select count(*) from versions") == (0,)
