"""A passkey in place of a passphrase: its own PRF seals the key, on this site, with this letter."""

import os
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from consent import signature
from consent.portal.sealed_keys import SealedKeys, secret_of
from tests.e2e.portal.test_portal_in_a_browser import WORDS, Counted
from tests.simulators.browser.chromium import Tab, chromium
from tests.simulators.consent.world import HOSPITAL, STUDY
from tests.simulators.portal import portal

pytestmark = pytest.mark.timeout(120)

AUTHENTICATOR = {
    "protocol": "ctap2", "ctap2Version": "ctap2_1", "transport": "internal", "hasResidentKey": True,
    "hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):
    with portal(tmp_path_factory.mktemp("portal"), tls=False) as found:
        yield found


class Device:
    """A phone with an authenticator that outlives what its browser keeps."""

    def __init__(self, browser, *, prf=True):
        self.tab = Tab(browser, width="phone")
        self.debugger = self.tab.context.new_cdp_session(self.tab.page)
        self.debugger.send("WebAuthn.enable")
        options = {**AUTHENTICATOR, "hasPrf": prf}
        made = self.debugger.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        self.id = made["authenticatorId"]
        self.person = Counted(self.tab, WORDS["en"])

    def passkeys(self):
        asked = {"authenticatorId": self.id}
        return self.debugger.send("WebAuthn.getCredentials", asked)["credentials"]

    def clear(self):
        """Forget cookies, storage and pages, as a person does; the authenticator is hardware."""
        self.tab.context.clear_cookies()
        self.tab.page.goto("about:blank")
        self.debugger.send(
            "Storage.clearDataForOrigin", {"origin": self.origin, "storageTypes": "all"}
        )

    def comes_in(self, site, code):
        self.origin = site.origin
        self.tab.page.goto(f"{site.origin}/sign-in#{code}")
        self.person.press("open")

    def to_preview(self):
        self.person.press("decide", role="link")
        self.person.press("effect")
        self.tab.page.wait_for_url("**/preview")

    def by_passkey(self):
        return self.tab.page.get_by_role("button", name="with a passkey")

    def close(self):
        self.tab.close()


@pytest.fixture
def device(browser):
    made = []

    def opened(**more):
        made.append(Device(browser, **more))
        return made[-1]

    yield opened
    for each in made:
        each.close()


def opened(sealed, *, given, secret):
    """The key that the page sealed, opened by another program; InvalidTag if it does not open."""
    wrapping = HKDF(
        algorithm=SHA256(), length=32, salt=bytes.fromhex(sealed["passkey"]["salt"]),
        info=b"twinward/sealed-key/passkey/v1",
    ).derive(given + secret)  # fmt: skip
    iv, box, subject = (bytes.fromhex(sealed[name]) for name in ("iv", "box", "subject"))
    return AESGCM(wrapping).decrypt(iv, box, subject)


def kept(site, number):
    with closing(SealedKeys.open(site.keys)) as keys:
        return keys.of(site.codes[number])


def test_yes_by_passkey_and_again_on_a_cleared_profile_and_stop(site, device, tmp_path):
    phone = device()
    page, code = phone.tab.page, site.letter(0)
    phone.comes_in(site, code)
    phone.to_preview()
    phone.by_passkey().wait_for()
    assert phone.tab.faults() == []
    shots = Path(os.environ.get("TWINWARD_SCREENSHOTS", tmp_path))
    page.screenshot(path=shots / "phone-en-passkey-new.png", full_page=True)
    phone.by_passkey().click()
    page.wait_for_url("**/studies/0")
    assert site.is_used(0, grades=["signed-on-device"])
    subject = site.newest(0).subject
    (sealed,) = kept(site, 0).values()
    assert (sealed["v"], set(sealed)) == (2, {"v", "subject", "passkey", "iv", "box"})
    (passkey,) = phone.passkeys()
    assert passkey["rpId"] == "localhost"

    phone.clear()
    phone.comes_in(site, code)
    phone.person.press("stop", role="link")
    page.locator("details summary").click()
    phone.by_passkey().wait_for()
    page.screenshot(path=shots / "phone-en-passkey-stop.png", full_page=True)
    assert phone.tab.faults() == []
    phone.by_passkey().click()
    page.wait_for_url("**/studies/0")
    assert not site.is_used(0)
    site.hospital.push()

    phone.clear()
    phone.comes_in(site, code)
    phone.to_preview()
    assert page.locator("[data-passphrase]").count() == 0
    page.screenshot(path=shots / "phone-en-passkey-held.png", full_page=True)
    assert phone.tab.faults() == []
    phone.by_passkey().click()
    page.wait_for_url("**/studies/0")
    assert site.is_used(0)
    assert site.newest(0).subject == subject, "the key that was sealed signed again"
    assert len(phone.passkeys()) == 1
    phone.person.press("change", role="link")
    page.locator("[name=read-0]").check()
    phone.person.press("effect")
    phone.by_passkey().click()
    page.wait_for_url("**/studies/0")
    whole = site.hospital.study.scope(HOSPITAL)
    assert (site.newest(0).subject, site.newest(0).grant.scope) == (subject, whole)
    assert site.is_used(0), "a yes in force was widened by the same key"
    page.goto(f"{site.origin}/studies/0/stop")
    phone.person.press("now")
    assert not site.is_used(0), "without the passkey too"


def test_another_devices_passkey_and_another_letter_open_nothing(site, device):
    phone, other = device(), device()
    phone.comes_in(site, site.letter(1))
    phone.to_preview()
    phone.by_passkey().click()
    phone.tab.page.wait_for_url("**/studies/0")
    phone.tab.page.goto(f"{site.origin}/studies/0/stop")
    other.comes_in(site, site.letter(2))
    other.to_preview()
    other.by_passkey().click()
    other.tab.page.wait_for_url("**/studies/0")
    # What was sealed on the one device, put where the other one's was.
    (taken,), (own,) = kept(site, 1).values(), kept(site, 2).values()
    said = other.tab.page.evaluate(
        """async ([taken, own]) => {
            const asked = async (id, salt) => (await navigator.credentials.get({publicKey: {
                challenge: new Uint8Array(32), userVerification: "required",
                allowCredentials: [{type: "public-key", id: Uint8Array.from(
                    id.match(/../g), (pair) => parseInt(pair, 16))}],
                extensions: {prf: {eval: {first: Uint8Array.from(
                    salt.match(/../g), (pair) => parseInt(pair, 16))}}}, timeout: 3000,
            }})).getClientExtensionResults().prf.results.first;
            const hex = (data) => Array.from(new Uint8Array(data),
                (one) => one.toString(16).padStart(2, "0")).join("");
            let strange;
            try { strange = hex(await asked(taken.passkey.id, taken.passkey.salt)); }
            catch (error) { strange = error.name; }
            return [strange, hex(await asked(own.passkey.id, own.passkey.salt)),
                    hex(await asked(own.passkey.id, taken.passkey.salt))];
        }""",
        [taken, own],
    )
    strange, right, wrong_salt = said
    assert strange == "NotAllowedError"
    given = bytes.fromhex(right)
    subject = site.newest(2).subject
    key = opened(own, given=given, secret=secret_of(site.codes[2], STUDY))
    assert signature.address_of(key) == subject
    for guess, secret in (
        (given, secret_of(site.codes[1], STUDY)), (given, bytes(32)),
        (bytes.fromhex(wrong_salt), secret_of(site.codes[2], STUDY)),
    ):  # fmt: skip
        with pytest.raises(InvalidTag):
            opened(own, given=guess, secret=secret)
    assert wrong_salt != right
    data = b"".join(path.read_bytes() for path in site.keys.parents[1].rglob("*") if path.is_file())
    assert bytes.fromhex(right) not in data
    assert right.encode() not in data


def test_a_passkey_without_prf_says_so_and_sends_nothing(site, device):
    phone = device(prf=False)
    phone.comes_in(site, site.letter(3))
    phone.to_preview()
    phone.by_passkey().click()
    alert = phone.tab.page.get_by_role("alert")
    alert.wait_for()
    assert "The passkey did not work. Nothing was sent." in alert.inner_text()
    assert site.newest(3) is None
    assert kept(site, 3) == {}


def test_a_browser_that_knows_no_prf_offers_a_passphrase_only(site, device):
    phone = device()
    phone.tab.page.add_init_script("delete PublicKeyCredential.getClientCapabilities")
    phone.comes_in(site, site.letter(4))
    phone.to_preview()
    assert phone.tab.page.locator("[data-passphrase]").is_visible()
    assert phone.tab.page.locator("[data-passkey]").is_hidden()
