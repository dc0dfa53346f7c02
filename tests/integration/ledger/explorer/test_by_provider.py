"""Signing in at an OpenID provider (our own simulator, a process over TLS), and attacks on it."""

import ssl
import subprocess
import sys
from contextlib import closing
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from ledger.explorer.by_provider import CALLBACK, by_provider
from ledger.explorer.entrance import entrance
from ledger.explorer.pages import EXPORTS, PAGES
from ledger.explorer.settings import FILE, provider_of
from tests.integration.ledger.explorer.conftest import ORIGIN, PASSPHRASE, send
from tests.simulators.explorer.world import DAY, HEART, START
from tests.simulators.oidc import provider as simulator
from tests.simulators.secsum.tls import Authority
from tests.simulators.web.client import visit
from twinward.errors import IdentityError, UsageError
from twinward.web.openid import ATTEMPT_SECONDS, OpenId
from twinward.web.provider import ProviderSettings, load_provider

ADA, BEA = "sub-of-ada", "sub-of-bea"


class Desk:
    """The provider as a person's browser reaches it, and what it was told."""

    def __init__(self, folder, port):
        self.issuer = f"https://127.0.0.1:{port}"
        tls = ssl.create_default_context(cafile=folder / "ca.pem")
        self.client = httpx.Client(verify=tls, base_url=self.issuer, trust_env=False)

    def told(self, **what):
        assert self.client.post("/told", json=what).status_code == 200

    def sign_in(self, address):
        """Where the provider sends the browser back to, path and query."""
        answer = self.client.get(address)
        assert answer.status_code == 302, answer.text
        back = answer.headers["location"]
        assert back.startswith(f"{ORIGIN}{CALLBACK}?")
        return back.removeprefix(ORIGIN)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A site's folder with the provider's CA and our secret."""
    made, authority = tmp_path_factory.mktemp("oidc"), Authority()
    key, certificate = authority.issue("provider")
    for name, data in {
        "ca.pem": authority.pem, "provider.key": key, "provider.pem": certificate,
        "oidc.secret": simulator.SECRET.encode() + b"\n",
    }.items():  # fmt: skip
        (made / name).write_bytes(data)
        (made / name).chmod(0o600)
    return made


@pytest.fixture(scope="module")
def process(folder):
    words = [sys.executable, simulator.__file__, str(folder), str(START + 10 * DAY)]
    running = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with running:
        desk = Desk(folder, int(running.stdout.readline()))
        with desk.client:
            yield desk
        running.stdin.close()
        running.wait(10)


@pytest.fixture
def desk(process):
    process.told()
    return process


def settings(desk, **more):
    given = {"issuer": desk.issuer, "client_id": simulator.CLIENT}
    given |= {"client_secret": "oidc.secret", "ca": "ca.pem"}
    return ProviderSettings.model_validate(given | more)


@pytest.fixture
def openid(folder, desk, clock):
    provider = load_provider(folder, settings(desk))
    with closing(OpenId(provider, redirect_uri=ORIGIN + CALLBACK, clock=clock)) as made:
        yield made


@pytest.fixture
def application(explorer, openid):
    for one in explorer.auditors.everyone():
        explorer.auditors.remove(one.name)  # the file is the module's
    ways = [entrance(explorer, provider=openid.provider.host), by_provider(explorer, openid)]
    return explorer.application(PAGES, EXPORTS, *ways)


@pytest.fixture
def stranger(application):
    with visit(application, ORIGIN) as visitor:
        yield visitor


@pytest.fixture
def ada(application, explorer, desk, clock):
    """An account that was invited as somebody at the provider."""
    explorer.auditors.invite(
        "ada", studies=None, until=clock.now() + 30 * DAY, issuer=desk.issuer, subject=ADA
    )


def address_in(answer):
    """The link on our page that leads to the provider."""
    assert answer.status_code == 200, answer.text
    return answer.text.split('class="button" href="')[1].split('"')[0].replace("&amp;", "&")


def begin(visitor, **fields):
    return send_to(visitor, "/sign-in", "/sign-in/provider", **fields)


def send_to(visitor, shown, path, **fields):
    csrf = visitor.get(shown).text.split('name="csrf" value="')[1].split('"')[0]
    headers = {"origin": visitor.origin}
    return visitor.post(path, data={**fields, "csrf": csrf}, headers=headers)


def round_trip(visitor, desk, **fields):
    return visitor.get(desk.sign_in(address_in(begin(visitor, **fields))))


def refused(answer, code):
    assert f"({code})" in answer.text, answer.text
    assert answer.status_code in {403, 503}
    assert "session" not in answer.headers.get("set-cookie", "")
    return True


@pytest.mark.parametrize("sign", ["RS256", "ES256"])
def test_an_invited_auditor_signs_in_at_the_provider_and_out_here(ada, desk, stranger, sign):
    desk.told(sign=sign)
    answer = round_trip(stranger, desk, next="/timeline?kind=a b")
    assert answer.status_code == 200, answer.text
    assert answer.headers["refresh"] == "0; url=/timeline?kind=a%20b"
    cookie = next(c for c in answer.headers.get_list("set-cookie") if "session" in c)
    assert cookie.startswith("__Host-session=")
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=strict"))
    assert stranger.get("/overview").status_code == 200
    kept = dict(stranger.cookies)
    assert send_to(stranger, "/overview", "/sign-out").headers["location"] == "/sign-in"
    stranger.cookies.update(kept)
    assert stranger.get("/overview").status_code == 303


def test_what_goes_to_the_provider_is_what_the_protocol_needs(ada, desk, stranger):
    page = begin(stranger)
    assert "form-action 'self'" in page.headers["content-security-policy"]
    query = parse_qs(urlsplit(address_in(page)).query)
    assert query["redirect_uri"] == [ORIGIN + CALLBACK]
    assert (query["scope"], query["response_type"]) == (["openid"], ["code"])
    assert query["code_challenge_method"] == ["S256"]
    other = parse_qs(urlsplit(address_in(begin(stranger))).query)
    for name in ("state", "nonce", "code_challenge"):
        assert len(query[name][0]) >= 43
        assert query[name] != other[name]
    assert simulator.SECRET not in page.text


def test_a_code_binds_whoever_signs_in_with_it_once(explorer, desk, stranger, clock):
    code = explorer.auditors.invite(
        "cleo", studies=[HEART], until=clock.now() + 9 * DAY, issuer=desk.issuer
    )
    assert refused(round_trip(stranger, desk), "TW7066")  # not before the code was used
    wrong = send_to(stranger, "/join/provider", "/join/provider", name="cleo", code="wrong")
    assert refused(wrong, "TW7041")
    joined = send_to(stranger, "/join/provider", "/join/provider", name="Cleo", code=code)
    assert stranger.get(desk.sign_in(address_in(joined))).status_code == 200
    assert stranger.get("/overview.json").json()["scope"] == [HEART]
    assert round_trip(stranger, desk).status_code == 200
    desk.told(sub=BEA)
    assert refused(round_trip(stranger, desk), "TW7066")
    again = send_to(stranger, "/join/provider", "/join/provider", name="cleo", code=code)
    assert refused(again, "TW7041")


def test_each_account_has_the_way_to_sign_in_that_its_invitation_names(
    explorer, desk, stranger, clock
):
    until = clock.now() + DAY
    code = explorer.auditors.invite("dora", studies=None, until=until, issuer=desk.issuer)
    answer = send(stranger, "/join", name="dora", code=code, passphrase=PASSPHRASE)
    assert refused(answer, "TW7067")
    code = explorer.auditors.invite("emil", studies=None, until=until)
    answer = send_to(stranger, "/join/provider", "/join/provider", name="emil", code=code)
    assert refused(answer, "TW7067")
    code = explorer.auditors.invite("fred", studies=None, until=until, issuer="https://b.example")
    answer = send_to(stranger, "/join/provider", "/join/provider", name="fred", code=code)
    assert refused(answer, "TW7067")


def test_one_person_at_the_provider_has_one_account(ada, explorer, desk, stranger, clock):
    until = clock.now() + DAY
    with pytest.raises(UsageError) as refusal:
        explorer.auditors.invite(
            "second", studies=None, until=until, issuer=desk.issuer, subject=ADA
        )
    assert refusal.value.code == "TW7068"
    assert explorer.auditors.find("second") is None
    code = explorer.auditors.invite("second", studies=None, until=until, issuer=desk.issuer)
    joined = send_to(stranger, "/join/provider", "/join/provider", name="second", code=code)
    assert refused(stranger.get(desk.sign_in(address_in(joined))), "TW7068")
    assert not explorer.auditors.find("second").is_open


def test_a_statement_alone_makes_no_account(explorer, desk, stranger):
    assert refused(round_trip(stranger, desk), "TW7066")
    assert explorer.auditors.everyone() == []


def test_an_account_that_ended_or_was_removed_is_refused(ada, explorer, desk, stranger, clock):
    assert round_trip(stranger, desk).status_code == 200
    explorer.auditors.remove("ada")
    assert stranger.get("/overview").status_code == 303
    assert refused(round_trip(stranger, desk), "TW7066")
    explorer.auditors.invite(
        "ada", studies=None, until=clock.now() + 5, issuer=desk.issuer, subject=ADA
    )
    assert round_trip(stranger, desk).status_code == 200
    clock.at += 5
    assert stranger.get("/overview").status_code == 303
    assert refused(round_trip(stranger, desk), "TW7066")


def test_a_visit_ends_when_the_account_is_given_to_somebody_else(
    ada, explorer, desk, stranger, clock
):
    assert round_trip(stranger, desk).status_code == 200
    clock.at += 1
    explorer.auditors.invite(
        "ada", studies=None, until=clock.now() + DAY, issuer=desk.issuer, subject=BEA
    )
    assert stranger.get("/overview").status_code == 303


NOW = START + 10 * DAY
LIES = {
    "another sign-in's nonce": {"claims": {"nonce": "A" * 43}},
    "no nonce": {"claims": {"nonce": None}},
    "for somebody else": {"claims": {"aud": "other-client"}},
    "for us and somebody else": {"claims": {"aud": [simulator.CLIENT, "other-client"]}},
    "asked for by somebody else": {"claims": {"azp": "other-client"}},
    "another issuer": {"claims": {"iss": "https://evil.example"}},
    "issuer with a slash": {"claims": {"iss": "slash"}},
    "expired": {"claims": {"exp": NOW - 61}},
    "no end": {"claims": {"exp": None}},
    "older than the sign-in": {"claims": {"iat": NOW - 61}},
    "from the future": {"claims": {"iat": NOW + 3600, "exp": NOW + 7200}},
    "not valid yet": {"claims": {"nbf": NOW + 3600}},
    "nobody": {"claims": {"sub": ""}},
    "a number": {"claims": {"sub": 7}},
    "no signature": {"sign": "none"},
    "public key as shared secret": {"sign": "hmac-public-key"},
    "shared secret in the key set": {"sign": "hmac-published"},
    "key that is not published": {"sign": "foreign"},
    "key that the statement brings along": {"sign": "foreign-inside"},
    "algorithm that we did not choose": {"sign": "RS512"},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_false_statement_signs_nobody_in(ada, desk, stranger, lie):
    told = {key: dict(v) if isinstance(v, dict) else v for key, v in LIES[lie].items()}
    if lie == "issuer with a slash":
        told["claims"]["iss"] = f"{desk.issuer}/"
    desk.told(**told)
    assert refused(round_trip(stranger, desk), "TW7065")
    assert stranger.get("/overview").status_code == 303


def test_the_way_back_works_once(ada, desk, stranger):
    back = desk.sign_in(address_in(begin(stranger)))
    assert stranger.get(back).status_code == 200
    assert refused(stranger.get(back), "TW7063")


def test_a_code_that_was_used_or_stolen_opens_no_other_sign_in(ada, desk, stranger):
    used = desk.sign_in(address_in(begin(stranger)))
    assert stranger.get(used).status_code == 200
    fresh = desk.sign_in(address_in(begin(stranger)))
    unused = desk.sign_in(address_in(begin(stranger)))  # its code belongs to another verifier
    for stolen in (used, unused):
        state = parse_qs(urlsplit(fresh).query)["state"][0]
        code = parse_qs(urlsplit(stolen).query)["code"][0]
        answer = stranger.get(CALLBACK, params={"state": state, "code": code, "iss": desk.issuer})
        assert refused(answer, "TW7064")
        fresh = desk.sign_in(address_in(begin(stranger)))


def test_the_state_of_another_visitor_is_refused(ada, desk, application, stranger):
    """An attacker's own way back, sent to a victim, does not sign the victim in as the attacker."""
    back = desk.sign_in(address_in(begin(stranger)))
    with visit(application, ORIGIN) as victim:
        victim.get("/sign-in")
        assert refused(victim.get(back), "TW7063")
        assert victim.get("/overview").status_code == 303


def test_a_sign_in_must_be_finished_within_ten_minutes(ada, desk, stranger, clock):
    back = desk.sign_in(address_in(begin(stranger)))
    clock.at += ATTEMPT_SECONDS + 1
    assert refused(stranger.get(back), "TW7063")


@pytest.mark.parametrize("iss", ["https://evil.example", None])
def test_an_answer_that_names_another_provider_is_refused(ada, desk, stranger, iss):
    desk.told(back={"iss": iss})
    assert refused(round_trip(stranger, desk), "TW7062")


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://127.0.0.1/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": None},
        {"code_challenge_methods_supported": ["plain"]},
    ],
)
def test_a_provider_that_describes_itself_wrongly_is_not_used(ada, desk, stranger, changed):
    desk.told(metadata=changed)
    assert refused(begin(stranger), "TW7062")


def test_who_is_turned_away_at_the_provider_is_turned_away_here(ada, desk, stranger):
    desk.told(deny=True)
    assert refused(round_trip(stranger, desk), "TW7064")


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_the_way_back_leads_to_this_site_only(ada, desk, stranger, elsewhere):
    answer = round_trip(stranger, desk, next=elsewhere)
    assert answer.headers["refresh"] == "0; url=/overview"
    assert "evil.example" not in answer.text


def test_the_provider_does_not_send_people_to_an_address_that_is_not_registered(desk, folder):
    tampered = f"/authorize?client_id={simulator.CLIENT}&redirect_uri={ORIGIN}{CALLBACK}/x"
    assert desk.client.get(tampered).status_code == 400


def test_a_form_of_another_site_begins_nothing(ada, desk, stranger):
    answer = stranger.post("/sign-in/provider", headers={"origin": "https://evil.example"})
    assert answer.status_code == 403


def test_a_server_whose_certificate_is_not_the_providers_is_not_asked(folder, desk, clock):
    provider = load_provider(folder, settings(desk, ca=None))  # the public CAs, not ours
    with (
        closing(OpenId(provider, redirect_uri=ORIGIN + CALLBACK, clock=clock)) as stranger,
        pytest.raises(IdentityError) as refusal,
    ):
        stranger.begin(visitor="v", memo={})
    assert refusal.value.code == "TW7061"


def test_a_wrong_client_secret_signs_nobody_in(folder, desk, clock, tmp_path):
    (tmp_path / "oidc.secret").write_text("wrong")
    (tmp_path / "oidc.secret").chmod(0o600)
    (tmp_path / "ca.pem").write_bytes((folder / "ca.pem").read_bytes())
    provider = load_provider(tmp_path, settings(desk))
    with closing(OpenId(provider, redirect_uri=ORIGIN + CALLBACK, clock=clock)) as openid:
        back = desk.sign_in(openid.begin(visitor="v", memo={}))
        answer = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
        with pytest.raises(IdentityError) as refusal:
            openid.finish(answer, visitor="v")
    assert refusal.value.code == "TW7064"


def test_the_settings_file_names_the_secret_and_never_holds_it(tmp_path):
    assert provider_of(tmp_path) is None
    table = '[oidc]\nissuer = "{}"\nclient_id = "us"\nclient_secret = "secret"\n'
    secret = tmp_path / "secret"
    secret.write_text("hidden words\n")
    secret.chmod(0o600)
    (tmp_path / FILE).write_text(table.format("https://login.example"))
    found = provider_of(tmp_path)
    assert (found.issuer, found.client_secret) == ("https://login.example", "hidden words")
    assert "hidden words" not in repr(found)
    secret.chmod(0o640)
    with pytest.raises(IdentityError) as refusal:
        provider_of(tmp_path)
    assert refusal.value.code == "TW2005"
    secret.chmod(0o600)
    for issuer in ("http://login.example", "https://login.example?x", "https://u@login.example"):
        (tmp_path / FILE).write_text(table.format(issuer))
        with pytest.raises(UsageError) as refusal:
            provider_of(tmp_path)
        assert refusal.value.code == "TW7060"
