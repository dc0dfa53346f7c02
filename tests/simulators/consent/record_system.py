"""A hospital's record system that uses the FHIR API, and the API of a hospital in memory."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from functools import partialmethod

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from consent.fhir.kept import Versions
from consent.fhir.meaning import ATTESTED_BY, policy_uri
from consent.fhir.registry import House, Registry
from consent.fhir.site import Api
from consent.fhir.smart import ASSERTION_TYPE, Client, Tokens
from consent.intake import Desk
from tests.simulators.consent.world import HOSPITAL, IDENTITY, STUDY, Hospital
from twinward.errors import ConsentError
from twinward.web.limits import Limit

BASE = "https://harbour.example:8443/fhir"
ALL = ("system/Consent.rs", "system/Consent.cu", "system/Consent.read", "system/Consent.write")


@dataclass
class RecordSystem:
    """One client: its name and its private key."""

    name: str
    key: ECKey | RSAKey = field(
        default_factory=lambda: ECKey.generate_key("P-384", {"kid": "one"}, private=True)
    )
    scopes: tuple[str, ...] = ALL

    def client(self):
        return Client(self.name, {"keys": [self.key.as_dict(private=False)]}, self.scopes)

    def assertion(self, *, now, key=None, header=None, **changes):
        claims = {
            "iss": self.name,
            "sub": self.name,
            "aud": f"{BASE}/token",
            "exp": int(now) + 200,
            "jti": str(time.monotonic_ns()),
        }
        head = {"alg": "ES384", "kid": "one"} | (header or {})
        return jwt.encode(head, claims | changes, key or self.key, algorithms=[head["alg"]])


class Http:
    """Requests to the application, each to its end."""

    def __init__(self, app):
        self._app = app

    def request(self, method, path, **more):
        async def ask():
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
                return await client.request(method, BASE.removesuffix("/fhir") + path, **more)

        return asyncio.run(ask())

    get = partialmethod(request, "GET")
    post = partialmethod(request, "POST")
    put = partialmethod(request, "PUT")


class ApiOfAHospital:
    """The real API over a vault on disk, a ledger in memory and everything it told the audit."""

    def __init__(self, folder, *, patients=4, burst=10_000.0, study=STUDY):
        self.study = study
        self.hospital = Hospital(folder, patients=patients, study=study)
        self.told = []
        self.is_ledger_known = True
        self.system = RecordSystem("ehr")
        self.other = RecordSystem("portal", scopes=("system/Consent.rs",))
        self.versions = Versions(folder / "fhir.db", key=bytes(32))
        hospital = self.hospital
        desk = Desk(
            hospital=HOSPITAL,
            identity=IDENTITY,
            domain=hospital.domain,
            studies={study.id32: study},
            clock=hospital.clock,
            slot=hospital.ledger.slot,
            chain_time=hospital.ledger.confirm,
            next_step=lambda _study: hospital.next_step,
            withdrew=lambda kept, staff: self.told.append(("withdrew", kept.record, staff)),
        )
        house = House(
            desk=desk,
            records=frozenset(hospital.records),
            confirm=self._confirm,
            attested=lambda *told: self.told.append(("attested", *told)),
            objected=lambda *told: self.told.append(("objected", *told)),
            decided=lambda *told: self.told.append(("decided", *told)),
            changed=lambda: None,
        )
        self.registry = Registry(hospital.vault, self.versions, house)
        self.tokens = Tokens(
            [self.system.client(), self.other.client()],
            audience=f"{BASE}/token",
            versions=self.versions,
            clock=hospital.clock,
        )
        limit = Limit(per_second=burst, burst=burst)
        self.app = Api(self.registry, self.tokens, base=BASE, limit=limit).application()
        self.http = Http(self.app)

    def _confirm(self):
        if not self.is_ledger_known:
            raise ConsentError("the confirmation is too old", code="TW3104", help="wait")

    def close(self):
        self.versions.store.close()
        self.hospital.vault.store.close()

    def ask_token(self, assertion, scope="system/Consent.rs system/Consent.cu"):
        form = {
            "grant_type": "client_credentials",
            "scope": scope,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        return self.http.post("/fhir/token", data=form)

    def token(self, system=None, scope="system/Consent.rs system/Consent.cu"):
        assertion = (system or self.system).assertion(now=self.hospital.clock.now())
        answer = self.ask_token(assertion, scope)
        assert answer.status_code == 200, answer.text
        return {"authorization": f"Bearer {answer.json()['access_token']}"}

    def consent(self, number=0, **changes):
        """What a record system sends for a patient who signed on paper."""
        record = self.hospital.records[number]
        patient = {"reference": f"Patient/{record}"}
        scope = "http://terminology.hl7.org/CodeSystem/consentscope"
        reason = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
        return {
            "resourceType": "Consent",
            "extension": [{"url": ATTESTED_BY, "valueString": "Nurse One"}],
            "status": "active",
            "scope": {"coding": [{"system": scope, "code": "patient-privacy"}]},
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "patient": patient,
            "dateTime": "2026-11-01",
            "performer": [patient],
            "organization": [{"reference": f"Organization/{HOSPITAL}"}],
            "sourceReference": {"reference": "DocumentReference/paper-1"},
            "policy": [{"uri": policy_uri(self.study, HOSPITAL)}],
            "provision": {
                "type": "permit",
                "period": {"end": "2030-12-31"},
                "purpose": [{"system": reason, "code": "HRESCH"}],
            },
        } | changes

    def post(self, value, headers, path="/fhir/Consent"):
        return self.http.post(path, content=json.dumps(value), headers=headers)

    def decide(self, number, headers, study=STUDY.name):
        question = {
            "resourceType": "Parameters",
            "parameter": [
                {
                    "name": "patient",
                    "valueReference": {"reference": f"Patient/{self.hospital.records[number]}"},
                },
                {"name": "study", "valueString": study},
            ],
        }
        answer = self.post(question, headers, "/fhir/Consent/$decide")
        if answer.status_code != 200:
            return answer.status_code, answer.json()
        found = {each["name"]: each for each in answer.json()["parameter"]}
        return found["decision"]["valueCode"], found["rule"]["valueCode"]
