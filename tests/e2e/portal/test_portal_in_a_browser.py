"""The patients' site on a phone: from the letter's code to a yes, a look and a stop."""

import sqlite3
from contextlib import closing

import pytest
from cryptography.exceptions import InvalidTag

from consent import signature
from consent.portal.sealed_keys import SealedKeys, secret_of
from consent.vault import CODE_BYTES
from tests.simulators.browser.chromium import Tab, chromium
from tests.simulators.consent.world import STUDY
from tests.simulators.portal import opened, portal

pytestmark = pytest.mark.timeout(120)

MOST_ACTIONS = 9
PASSPHRASE = "four words nobody joins"


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):
    with portal(tmp_path_factory.mktemp("portal")) as found:
        yield found


@pytest.fixture
def phone(browser):
    tabs = []

    def opened(**more):
        tabs.append(Tab(browser, width="phone", ignore_https_errors=True, **more))
        return tabs[-1]

    yield opened
    for tab in tabs:
        tab.close()


WORDS = {
    "en": {
        "code": "Code in your letter", "open": "Open", "decide": "Read and decide",
        "effect": "Show me what this does", "yes": "Yes, I agree", "stop": "I want to stop",
        "now": "Stop now", "used": "Your data is used now by",
        "nobody": "Nobody uses your data now", "passphrase": "Choose a passphrase",
        "change": "Change what may be read",
    },
    "ar": {
        "code": "الرمز الموجود في رسالتك", "open": "افتح", "decide": "اقرأ وقرر",
        "effect": "أرني ما الذي سيحدث", "yes": "نعم، أوافق", "stop": "أريد التوقف",
        "now": "توقف الآن", "used": "تُستخدم بياناتك الآن في",
        "nobody": "لا أحد يستخدم بياناتك الآن", "passphrase": "اختر عبارة مرور",
        "change": "غيّر ما يجوز قراءته",
    },
    "de": {
        "code": "Code in Ihrem Brief", "open": "Öffnen", "effect": "Zeigen, was das bewirkt",
        "yes": "Ja, ich bin einverstanden", "now": "Jetzt aufhören",
        "passphrase": "Wählen Sie einen geheimen Satz", "change": "Ändern, was gelesen werden darf",
    },
}  # fmt: skip


class Counted:
    """Acts as a person does through the accessibility tree, and counts."""

    def __init__(self, tab, words):
        self.page, self.words, self.actions = tab.page, words, 0

    def type(self, label, text):
        self.page.get_by_label(self.words[label]).fill(text)
        self.actions += 1

    def press(self, name, role="button"):
        self.page.get_by_role(role, name=self.words[name]).first.click()
        self.actions += 1


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
@pytest.mark.parametrize("language", ["en", "ar"])
def test_grant_check_and_withdraw_in_nine_actions(site, phone, language, scripts, tmp_path):
    number = 2 * (language == "ar") + scripts
    tab = phone(scripts=scripts, locale=language)
    person, faults, missing = Counted(tab, WORDS[language]), {}, []
    tab.page.on("response", lambda one: one.status >= 400 and missing.append(one.url))

    def look(name):
        if scripts:
            # A browser asks for an icon by itself; what pages ask for is in `missing`.
            faults[name] = tab.faults() + [each for each in tab.trouble if " 404 " not in each]
        if tab.is_too_wide():
            faults[name] = [*faults.get(name, []), "wider than the window"]
        direction = tab.page.locator("html").get_attribute("dir")
        assert direction == ("rtl" if language == "ar" else "ltr")
        tab.page.screenshot(path=tmp_path / f"{name}.png", full_page=True)

    tab.page.goto(site.origin)
    look("door")
    person.type("code", site.letter(number))
    person.press("open")
    look("home")
    assert person.words["nobody"] in tab.page.locator("main").inner_text()
    person.press("decide", role="link")
    look("choose")
    person.press("effect")
    look("preview")
    if scripts:
        person.type("passphrase", PASSPHRASE)
    person.press("yes")
    tab.page.wait_for_url("**/studies/0")
    look("granted")
    assert site.is_used(number)
    grade = "signed-on-device" if scripts else "signed-at-hospital"
    assert site.newest(number).grade == grade
    assert site.is_used(number, grades=[grade])
    tab.page.goto(f"{site.origin}/home")
    person.actions += 1  # the check
    look("used")
    assert person.words["used"] in tab.page.locator("main").inner_text()
    person.press("stop", role="link")
    look("stop")
    person.press("now")
    look("stopped")
    assert not site.is_used(number)
    assert person.actions <= MOST_ACTIONS
    assert missing == []
    assert {name: each for name, each in faults.items() if each} == {}


def test_a_copy_of_the_hospitals_disks_cannot_sign_even_with_the_passphrase(site, phone):
    """The sealed key opens with passphrase and letter, by another program; with nothing else."""
    tab = phone()
    person = Counted(tab, WORDS["en"])
    tab.page.goto(f"{site.origin}/sign-in#{site.letter(10)}")  # as the letter's picture does
    assert tab.page.url == f"{site.origin}/sign-in"
    person.press("open")
    person.press("decide", role="link")
    person.press("effect")
    person.type("passphrase", PASSPHRASE)
    person.press("yes")
    tab.page.wait_for_url("**/studies/0")
    assert person.actions == 5
    subject = site.newest(10).subject
    folder = site.keys.parents[1]
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert not any(PASSPHRASE.encode() in data for data in files.values())
    with closing(SealedKeys.open(site.keys)) as keys:
        sealed = keys.of(site.codes[10])[subject.hex()]
        assert keys.of(site.codes[10][:15] + b"?") == {}
    assert (sealed["kdf"]["m"], sealed["kdf"]["t"]) == (65536, 3)
    secret = secret_of(site.codes[10], STUDY)
    key = opened(sealed, passphrase=PASSPHRASE, secret=secret)
    assert signature.address_of(key) == subject
    assert not any(key in data or secret in data for data in files.values())
    with pytest.raises(InvalidTag):
        opened(sealed, passphrase="four words nobody join", secret=secret)
    stored = {
        secret_of(data[at : at + CODE_BYTES], STUDY)
        for data in stored_values(files) for at in (0, CODE_BYTES) if data[at:]
    }  # fmt: skip
    assert len(stored) > 4
    for guess in stored:
        with pytest.raises(InvalidTag):
            opened(sealed, passphrase=PASSPHRASE, secret=guess)


def stored_values(files):
    """Every value of 16 or 32 bytes that lies in a database of these."""
    for path, data in files.items():
        if data[:15] != b"SQLite format 3":
            continue
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as copy:
            tables = copy.execute("select name from sqlite_master where type = 'table'").fetchall()
            for (table,) in tables:
                for row in copy.execute(f'select * from "{table}" limit 12'):
                    yield from (
                        one for one in row if isinstance(one, bytes) and len(one) in {16, 32}
                    )
