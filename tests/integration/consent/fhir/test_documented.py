"""What `docs/fhir.md` shows a record system to send, sent as it is written."""

import asyncio
import json
import re
import time
from pathlib import Path

import httpx

from consent.fhir.site import Api
from consent.fhir.smart import Client, Tokens
from tests.simulators.consent.record_system import ALL, ApiOfAHospital
from tests.simulators.consent.world import HOSPITAL, STUDY
from twinward.web.limits import Limit

CLIENT = httpx.Client
PAGE = Path(__file__).parents[4] / "docs" / "fhir.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


class Here(httpx.BaseTransport):
    """Requests of the page's client, answered by the application in this process."""

    def __init__(self, app):
        self._app = httpx.ASGITransport(app)

    def handle_request(self, request):
        async def ask():
            answer = await self._app.handle_async_request(request)
            return httpx.Response(
                answer.status_code, headers=answer.headers, content=await answer.aread()
            )

        return asyncio.run(ask())


def test_the_first_consent_of_the_page_is_taken_and_ended(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hospital = ApiOfAHospital(tmp_path)
    making, asking = blocks("python")
    shown = {}
    exec(making, shown)
    published = json.loads(Path("ehr.jwks").read_text())
    assert "d" not in published["keys"][0]

    base = re.search(r'^base = "(.*)"$', asking, re.MULTILINE)[1]
    tokens = Tokens(
        [Client("ehr", published, ALL)],
        audience=f"{base}/token",
        versions=hospital.versions,
        clock=hospital.hospital.clock,
    )
    limit = Limit(per_second=100.0, burst=100.0)
    app = Api(hospital.registry, tokens, base=base, limit=limit).application()
    monkeypatch.setattr(httpx, "Client", lambda verify: CLIENT(transport=Here(app)))
    monkeypatch.setattr(time, "time", hospital.hospital.clock.now)
    exec(asking, shown)
    http = shown["http"]

    (study,) = http.get(f"{base}/Consent/$offers").json()["parameter"]
    offer = {part["name"]: part for part in study["part"]}
    assert offer["name"]["valueString"] == STUDY.name
    (written,) = blocks("json")
    for name, value in (
        ("RECORD", hospital.hospital.records[0]),
        ("HOSPITAL", HOSPITAL),
        ("POLICY", offer["policy"]["valueUri"]),
    ):
        written = written.replace(name, value)
    given = http.post(f"{base}/Consent", content=written)
    assert given.status_code == 201, given.text
    assert given.headers["location"].endswith("/_history/1")
    ended = http.put(
        f"{base}/Consent/{given.json()['id']}", json=given.json() | {"status": "inactive"}
    )
    assert (ended.status_code, ended.json()["status"]) == (200, "inactive")
    hospital.close()
