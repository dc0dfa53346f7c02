"""Who gets in, for how long, to see what."""

import re

import pytest

from ledger.explorer.auditors import INVITATION_SECONDS
from tests.integration.ledger.explorer.conftest import PASSPHRASE, let_in, send
from tests.simulators.explorer.world import DAY, HEART, SLEEP, as_form


def test_a_stranger_sees_no_page_in_any_form(world, stranger):
    for path in [*world.addresses().values(), f"/lineage/{world.release.hex()}/prov.json"]:
        page = stranger.get(path)
        if path.endswith(".json"):
            assert page.status_code == 401
            continue
        assert page.status_code == 303
        assert page.headers["location"].startswith("/sign-in?next=")
        for form in ("json", "csv"):
            answer = stranger.get(as_form(path, form))
            assert answer.status_code == 401
            assert answer.json()["code"] == "TW7037"


def test_an_invitation_works_once_and_the_passphrase_from_then_on(explorer, stranger):
    code = explorer.auditors.invite("ada", studies=None, until=explorer.shell.clock.now() + DAY)
    assert "TW7042" in send(stranger, "/join", name="ada", code=code, passphrase="short").text
    assert "TW7041" in send(stranger, "/join", name="ada", code="wrong", passphrase=PASSPHRASE).text
    assert send(stranger, "/join", name="ada", code=code, passphrase=PASSPHRASE).status_code == 303
    assert stranger.get("/overview").status_code == 200
    assert send(stranger, "/sign-out").headers["location"] == "/sign-in"
    assert stranger.get("/overview").status_code == 303
    assert "TW7041" in send(stranger, "/join", name="ada", code=code, passphrase=PASSPHRASE).text
    assert "TW7043" in send(stranger, "/sign-in", name="ada", passphrase="wrong").text
    entered = send(stranger, "/sign-in", name="Ada ", passphrase=PASSPHRASE, next="/timeline")
    assert (entered.status_code, entered.headers["location"]) == (303, "/timeline")


def test_refusals_do_not_tell_which_accounts_exist(explorer, stranger):
    explorer.auditors.invite("bea", studies=None, until=explorer.shell.clock.now() + DAY)
    said = [
        re.search(
            r"<strong>(.*?)</strong>", send(stranger, "/sign-in", name=n, passphrase="x").text
        )
        for n in ("bea", "nobody-here")
    ]
    assert said[0][1] == said[1][1]


def test_guessing_is_slowed_down(explorer, stranger):
    name = let_in(explorer, stranger)
    found = [
        send(stranger, "/sign-in", name=name, passphrase=f"guess {n}").status_code
        for n in range(12)
    ]
    assert 429 in found
    assert send(stranger, "/sign-in", name=name, passphrase=PASSPHRASE).status_code == 429


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nset-cookie: x"],
)
def test_signing_in_never_leads_to_another_site(explorer, stranger, elsewhere):
    name = let_in(explorer, stranger)
    answer = send(stranger, "/sign-in", name=name, passphrase=PASSPHRASE, next=elsewhere)
    assert answer.headers["location"] == "/overview"


def test_an_invitation_lapses_after_a_week(explorer, stranger, clock):
    code = explorer.auditors.invite("cleo", studies=None, until=clock.now() + 90 * DAY)
    clock.at += INVITATION_SECONDS + 1
    answer = send(stranger, "/join", name="cleo", code=code, passphrase=PASSPHRASE)
    assert "TW7041" in answer.text


def test_access_ends_on_its_day_in_the_middle_of_a_visit(explorer, stranger, clock):
    let_in(explorer, stranger, days=0.01)
    assert stranger.get("/overview").status_code == 200
    clock.at += 0.01 * DAY
    assert stranger.get("/overview").status_code == 303


def test_a_removed_auditor_is_out_at_once(explorer, stranger):
    name = let_in(explorer, stranger)
    explorer.auditors.remove(name)
    assert stranger.get("/overview").status_code == 303


def test_a_new_invitation_closes_the_account_until_it_is_used(explorer, stranger, clock):
    name = let_in(explorer, stranger)
    explorer.auditors.invite(name, studies=None, until=clock.now() + DAY)
    assert stranger.get("/overview").status_code == 303
    assert send(stranger, "/sign-in", name=name, passphrase=PASSPHRASE).status_code == 403


def test_an_auditor_of_one_study_finds_nothing_of_another(world, explorer, stranger):
    let_in(explorer, stranger, studies=[HEART])
    digest, number = world.studies[SLEEP]
    secrets = [SLEEP, SLEEP.replace("-", " "), digest.hex(), number.hex(), world.sleep_plan.hex()]
    secrets += [subject.hex() for subject in world.subjects[SLEEP]]
    pages = [*world.addresses().values(), "/events/1", "/events/2"]
    for path in pages:
        for address in (path, as_form(path, "json"), as_form(path, "csv")):
            text = stranger.get(address).text
            assert not [each for each in secrets if each in text], address
    hidden = [f"/studies/{digest.hex()}", f"/lineage/{world.sleep_plan.hex()}"]
    hidden += [f"/subjects?subject={world.subjects[SLEEP][0].hex()}"]
    hidden += [f"/lineage/{digest.hex()}/prov.json", f"/lineage/{digest.hex()}/fhir.json"]
    assert {stranger.get(path).status_code for path in hidden} == {404}
    concealed = [e.number for e in world.events if e.values.get("study") == number]
    assert {stranger.get(f"/events/{n}").status_code for n in concealed} == {404}
    assert HEART in stranger.get("/studies").text
    first = next(e.number for e in world.events if e.values.get("subject"))
    assert world.subjects[HEART][0].hex() in stranger.get(f"/events/{first}").text


def send_bare(visitor, path, csrf="0"):
    return visitor.post(path, data={"csrf": csrf}, headers={"origin": visitor.origin})


def test_pages_do_not_act(world, auditor):
    before = (world.audited / "state" / "explorer" / "auditors.sqlite").read_bytes()
    for path in world.addresses().values():
        assert send_bare(auditor, path).status_code == 403
        csrf = re.search(r'name="csrf" value="(\w+)"', auditor.get("/overview").text)[1]
        assert send_bare(auditor, path, csrf).status_code == 405
    assert (world.audited / "state" / "explorer" / "auditors.sqlite").read_bytes() == before


def test_nothing_secret_is_stored_readable(explorer, stranger, world):
    code = explorer.auditors.invite("dora", studies=None, until=explorer.shell.clock.now() + DAY)
    send(stranger, "/join", name="dora", code=code, passphrase=PASSPHRASE)
    cookie = stranger.cookies["__Host-session"]
    for path in (world.audited / "state" / "explorer").iterdir():
        data = path.read_bytes()
        assert not [word for word in (code, PASSPHRASE, cookie) if word.encode() in data], path
    assert (world.audited / "state" / "explorer").stat().st_mode & 0o077 == 0
