"""The node serves its consents to the record systems that `fhir.toml` names, over TLS."""

import json
import time

import httpx
import pytest

from consent.fhir.meaning import ATTESTED_BY, policy_uri
from hospital_node import fhir
from hospital_node.node import Node
from hospital_node.paths import FHIR
from tests.simulators.consent.record_system import ASSERTION_TYPE, RecordSystem
from tests.simulators.one_node import ORG, STUDY, Hospital, World
from twinward.clock import SystemClock
from twinward.demo.stage import free_ports
from twinward.errors import UsageError


@pytest.fixture
def node(tmp_path):
    """In a network of its own: whoever opens a node moves its fence on the ledger."""
    (tmp_path / "world").mkdir()
    world = World(tmp_path / "world")
    opened = Node.open(Hospital(world, tmp_path).folder, clock=SystemClock())
    yield opened
    opened.close()
    world.close()


def configure(folder, system, port, **changes):
    keys = changes.get("keys") or {"keys": [system.key.as_dict(private=False)]}
    (folder / "ehr.jwks").write_text(json.dumps(keys))
    scopes = changes.get("scopes", ["system/Consent.cruds"])
    lines = [f"port = {port}", "[[clients]]", 'name = "ehr"', 'jwks = "ehr.jwks"']
    (folder / FHIR).write_text("\n".join([*lines, f"scopes = {json.dumps(scopes)}"]) + "\n")


def test_a_record_system_gives_a_yes_and_is_told_nothing_while_the_ledger_is_unknown(node):
    system, port = RecordSystem("ehr"), free_ports(1)
    for change in (
        {"scopes": ["system/*.cruds"]},
        {"scopes": []},
        {"keys": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}},
        {"keys": [1]},
    ):
        configure(node.folder, system, port, **change)
        with pytest.raises(UsageError, match="record system"):
            fhir.of(node)
    configure(node.folder, system, port)
    api = fhir.of(node)
    api.start()
    base = f"https://127.0.0.1:{port}/fhir"
    with httpx.Client(verify=False, base_url=base) as http:
        assertion = system.assertion(now=time.time(), aud=f"{base}/token")
        form = {
            "grant_type": "client_credentials",
            "scope": "system/Consent.cruds",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        token = http.post("/token", data=form).json()["access_token"]
        http.headers["authorization"] = f"Bearer {token}"
        study = next(s for s in node.surroundings.studies.values() if s.name == STUDY)
        record = node.patients.records[0]
        patient = {"reference": f"Patient/{record}"}
        scope = "http://terminology.hl7.org/CodeSystem/consentscope"
        reason = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
        yes = {
            "resourceType": "Consent",
            "extension": [{"url": ATTESTED_BY, "valueString": "Nurse One"}],
            "status": "active",
            "scope": {"coding": [{"system": scope, "code": "research"}]},
            "category": [{"text": "study"}],
            "patient": patient,
            "dateTime": "2026-01-01",
            "performer": [patient],
            "organization": [{"reference": f"Organization/{ORG}"}],
            "sourceAttachment": {"title": "paper"},
            "policy": [{"uri": policy_uri(study, ORG)}],
            "provision": {
                "type": "permit",
                "period": {"end": "2090"},
                "purpose": [{"system": reason, "code": "HRESCH"}],
            },
        }
        given = http.post("/Consent", json=yes)
        assert given.status_code == 201, given.text
        asked = {
            "resourceType": "Parameters",
            "parameter": [
                {"name": "patient", "valueReference": patient},
                {"name": "study", "valueString": STUDY},
            ],
        }
        assert http.post("/Consent/$decide", json=asked).status_code == 503
    api.stop()
    topic = node.audit.log.bodies.topic(record)
    assert topic is not None
