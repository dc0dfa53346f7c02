"""Odd requests, made from the published OpenAPI: no 5xx, and every answer is as it says."""

import warnings

import pytest
from hypothesis import HealthCheck, settings

from consent.fhir import describe
from tests.simulators.consent.record_system import BASE, ApiOfAHospital
from twinward.web.serve import Background, listen

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the library's own imports
    import schemathesis
    from schemathesis import checks

PUBLISHED = schemathesis.openapi.from_dict(describe.openapi(BASE))
HELD = [
    checks.not_a_server_error,
    *map(
        checks.CHECKS.get_one,
        ("status_code_conformance", "content_type_conformance", "response_schema_conformance"),
    ),
]
pytestmark = pytest.mark.filterwarnings("ignore")  # of the library's own running


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    api = ApiOfAHospital(tmp_path_factory.mktemp("schema"))
    listener = listen("127.0.0.1", 0)
    site = Background(api.app, listener, tls=None)
    site.start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/fhir"
    yield address, api.token()
    site.stop()
    api.close()


@PUBLISHED.parametrize()
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_breaks_the_published_description(served, case):
    address, headers = served
    case.call_and_validate(base_url=address, headers=headers, checks=HELD)
