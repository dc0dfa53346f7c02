"""Who gets past the door of a site, and what goes back with every answer."""

import re

import pytest
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from tests.simulators.web.client import visit
from twinward.clock import FixedClock
from twinward.errors import BudgetError
from twinward.web.guard import form_of
from twinward.web.limits import Limit
from twinward.web.sessions import Sessions
from twinward.web.shell import Link, Shell, Site

ORIGIN = "https://audit.example:9443"


@pytest.fixture
def shell(tmp_path):
    (tmp_path / "form.html").write_text(
        '{% extends "layout.html" %}{% block content %}<form method="post">'
        '<input name="{{ csrf_field }}" value="{{ csrf }}"></form>{{ said }}{% endblock %}'
    )
    site = Site("Trial", ORIGIN, tmp_path, (Link("Form", "/form"),), "Ask the desk.")
    clock = FixedClock(1e9)
    sessions = Sessions(tmp_path / "sessions.sqlite", clock=clock)
    yield Shell(site, sessions=sessions, clock=clock)
    sessions.close()


def application(shell, **more):
    pages = APIRouter()

    @pages.get("/form")
    def form(request: Request):
        return shell.html(request, "form.html", title="A form", said="<script>1</script>")

    @pages.post("/form")
    def act(request: Request):
        return PlainTextResponse(form_of(request)["word"])

    @pages.get("/enter")
    def enter(request: Request):
        return shell.sign_in(request, "ada", then="/form")

    @pages.get("/leave")
    def leave(request: Request):
        return shell.sign_out(request, then="/form")

    @pages.get("/refused")
    @pages.get("/refused.json")
    def refused():
        raise BudgetError("the limit is reached", code="TW4001", help="ask for a new study")

    @pages.get("/bug")
    def bug():
        raise ValueError("patient 17 is ill")

    return shell.build([pages], **more)


@pytest.fixture
def browser(shell):
    with visit(application(shell), ORIGIN) as client:
        yield client


def token(browser):
    return re.search(r'name="csrf" value="(\w+)"', browser.get("/form").text)[1]


def send(browser, *, word="hello", origin=ORIGIN, csrf=None, headers=None):
    body = {"word": word, "csrf": token(browser) if csrf is None else csrf}
    sent = {} if origin is None else {"origin": origin}
    return browser.post("/form", data=body, headers=sent | (headers or {}))


def test_a_form_of_our_own_page_is_accepted(browser):
    answer = send(browser)
    assert (answer.status_code, answer.text) == (200, "hello")


@pytest.mark.parametrize(
    "attack",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": None},
        {"origin": "http://audit.example:9443"},
        {"headers": {"sec-fetch-site": "same-site"}},
        {"csrf": ""},
        {"csrf": "0" * 64},
    ],
)
def test_a_form_of_another_page_is_refused(browser, attack):
    answer = send(browser, **attack)
    assert answer.status_code == 403
    assert "TW7033" in answer.text


def test_the_token_of_another_visitor_is_refused(shell):
    with visit(application(shell), ORIGIN) as client:
        stolen = token(client)
        client.cookies.clear()
        token(client)
        assert send(client, csrf=stolen).status_code == 403


def test_a_form_of_another_kind_or_too_large_is_refused(browser):
    headers = {"origin": ORIGIN}
    assert browser.post("/form", json={"word": "x"}, headers=headers).status_code == 400
    assert send(browser, word="x" * 70_000).status_code == 413
    many = {f"f{n}": "" for n in range(300)}
    assert browser.post("/form", data=many, headers=headers).status_code == 400


@pytest.mark.parametrize("host", ["evil.example", "audit.example", "audit.example:9443.evil"])
def test_another_name_for_this_address_is_refused(browser, host):
    assert browser.get("/form", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "HEAD"])
def test_other_methods_do_nothing(browser, method):
    assert browser.request(method, "/form").status_code == 405


def test_who_asks_too_often_waits_and_others_do_not(shell):
    now = [0.0]
    limit = Limit(per_second=1, burst=3, seconds=lambda: now[0])
    with visit(application(shell, limit=limit), ORIGIN) as client:
        assert [client.get("/form").status_code for _ in range(4)] == [200, 200, 200, 429]
        assert limit.wait("another") == 0
        now[0] = 1.0
        assert client.get("/form").status_code == 200


@pytest.mark.parametrize("path", ["/form", "/nowhere", "/refused", "/bug", "/static/x/y.css"])
def test_every_answer_has_the_headers(browser, path):
    headers = browser.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "max-age" in headers["strict-transport-security"]
    assert headers["cache-control"] == "no-store"


def test_pages_hold_no_script_or_style_of_their_own_and_escape_values(browser):
    text = browser.get("/form").text
    assert "<script>1" not in text
    assert "style=" not in text
    assert re.findall(r"<script[^>]*>([^<]*)</script>", text) == [""]


def test_what_pages_load_is_served_with_its_hash_and_may_be_kept(browser):
    text = browser.get("/form").text
    loaded = re.findall(r'(?:href|src)="(/static/[^"]+)" integrity="(sha256-[^"]+)"', text)
    assert len(loaded) == 2
    for address, _ in loaded:
        answer = browser.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    wrong = loaded[0][0].replace("/static/", "/static/0")
    assert browser.get(wrong).status_code == 404
    assert browser.get("/static/x/%2e%2e%2fshell.py").status_code == 404


def test_refusals_carry_our_codes_for_people_and_machines(browser):
    page = browser.get("/refused")
    assert page.status_code == 403
    assert "TW4001" in page.text
    assert "ask for a new study" in page.text
    problem = browser.get("/refused.json")
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["code"] == "TW4001"


def test_an_unexpected_error_does_not_show_its_message(browser):
    answer = browser.get("/bug")
    assert answer.status_code == 500
    assert "TW9000" in answer.text
    assert "patient" not in answer.text


def test_signing_in_makes_a_new_cookie_that_scripts_and_other_sites_cannot_use(browser):
    browser.cookies.set("__Host-session", "chosen-by-an-attacker", domain="audit.example")
    answer = browser.get("/enter")
    made = answer.headers["set-cookie"]
    assert made.startswith("__Host-session=")
    assert "chosen-by-an-attacker" not in made
    for word in ("HttpOnly", "SameSite=strict", "Secure", "Path=/"):
        assert word in made
    browser.cookies.clear()
    browser.headers["cookie"] = made.split(";")[0]
    assert "Sign out" in browser.get("/form").text
    browser.get("/leave")
    assert "Sign out" not in browser.get("/form").text
