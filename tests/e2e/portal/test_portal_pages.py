"""Every page of the patients' site, at two widths, in both languages and a draft, light and dark;
and the way from letter to stop by keyboard alone and as a screen reader goes it."""

import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from consent.notices import Notices
from consent.portal import results
from tests.e2e.portal.test_portal_in_a_browser import MOST_ACTIONS, PASSPHRASE, WORDS
from tests.simulators.browser.chromium import WIDTHS, Tab, chromium
from tests.simulators.consent.world import HOSPITAL, STUDY, Hospital
from tests.simulators.portal import keeps_a_book, portal

pytestmark = pytest.mark.timeout(200)

RUN = "5a" * 32


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("portal")
    (folder / "audit").mkdir()
    with (
        closing(Notices.open(folder / "notices.sqlite", key=b"n" * 32)) as mails,
        keeps_a_book(
            Hospital(folder / "hospital", patients=12, notices=mails), folder / "audit"
        ) as hospital,
        portal(folder, hospital=hospital) as found,
    ):
        everyone = np.ones(len(hospital.records), dtype=bool)
        hospital.accounts.begin(RUN, what="training heart-risk", mu2=0.2, wanted=everyone)
        hospital.audit.used(hospital.records, study=STUDY.name, run=RUN, to="coordinator")
        words = folder / "words.toml"
        words.write_text('en = "We found that salt matters."\nar = "وجدنا أن الملح مهم."\n')
        results.publish(folder / "portal", STUDY.name, words)
        yield found


@pytest.fixture
def tab(browser):
    tabs = []

    def opened(**more):
        tabs.append(Tab(browser, ignore_https_errors=True, **more))
        return tabs[-1]

    yield opened
    for each in tabs:
        each.close()


def left_out(site, number):
    """What the newest yes of a patient leaves out."""
    return site.hospital.study.without(site.newest(number).grant.scope, HOSPITAL)


# The other two pairs are walked in light colours by the test of the nine actions.
LOOKS = [("phone", "ar", "dark"), ("desk", "en", "light"), ("phone", "de", "light")]


@pytest.mark.parametrize(("width", "language", "colours"), LOOKS, ids=lambda each: each)
def test_every_page_is_clean_and_fits(site, tab, tmp_path, width, language, colours):
    shots = Path(os.environ.get("TWINWARD_SCREENSHOTS", tmp_path))
    one = tab(width=width, colours=colours, locale=language)
    page, words, faults = one.page, WORDS[language], {}

    def look(name):
        assert page.locator("html").get_attribute("dir") == ("rtl" if language == "ar" else "ltr")
        page.screenshot(path=shots / f"{width}-{language}-{name}.png", full_page=True)
        found = one.faults()
        for wide, high in WIDTHS.values() if language == "de" else (WIDTHS[width],):
            page.set_viewport_size({"width": wide, "height": high})
            found += [f"does not fit into {wide}"] if one.is_too_wide(wide) else []
        page.set_viewport_size(dict(zip(("width", "height"), WIDTHS[width], strict=True)))
        # The browser's own word on an address that shows nothing is what one of them is asked for.
        found += [each for each in one.trouble if " 404 " not in each and " 403 " not in each]
        one.trouble.clear()
        if found:
            faults[name] = found

    def press(name, role="button"):
        page.get_by_role(role, name=words[name]).first.click()

    page.goto(f"{site.origin}/language/{language}?then=/sign-in")
    page.get_by_label(words["code"]).fill("0" * 26)
    press("open")
    look("wrong-code")
    number = LOOKS.index((width, language, colours))
    page.goto(f"{site.origin}/sign-in#{site.letter(number)}")
    look("sign-in")
    press("open")
    look("home-before")
    for path in (
        "about",
        "studies/0",
        "studies/0/yes",
        "studies/0/result",
        "studies/0/uses",
        "studies/0/delegates",
        "studies/0/notices",
        "none",
    ):
        page.goto(f"{site.origin}/{path}")
        look(path.replace("/", "-"))
    page.goto(f"{site.origin}/studies/0/uses")
    page.locator("main form button").click()
    look("uses-checked")
    page.goto(f"{site.origin}/studies/0/delegates")
    page.locator("#holder").fill("Mia")
    page.locator("#until").fill(page.locator("#until").get_attribute("max"))
    page.locator("main form button").click()
    look("delegate-made")
    page.goto(f"{site.origin}/studies/0/delegates")
    look("delegates-named")
    page.goto(f"{site.origin}/studies/0/notices")
    page.locator("[name=study]").check()
    page.locator("#address").fill("p@mail.example")
    page.locator("main form button").first.click()
    look("notices-code")
    page.goto(f"{site.origin}/studies/0/yes")
    assert not page.locator("[name=read-0]").is_checked()
    press("effect")
    page.locator("details summary").first.click()
    look("preview")
    page.get_by_label(words["passphrase"]).fill(PASSPHRASE)
    press("yes")
    page.wait_for_url("**/studies/0")
    look("granted")
    page.goto(f"{site.origin}/home")
    look("home-after")
    assert left_out(site, number) == ("blood pressure",)
    page.goto(f"{site.origin}/studies/0")
    press("change", role="link")
    assert not page.locator("[name=read-0]").is_checked()
    page.locator("[name=read-0]").check()
    press("effect")
    look("preview-again")
    page.locator("[data-passphrase]").fill("another passphrase")
    press("yes")
    page.get_by_role("alert").wait_for()
    look("wrong-passphrase")
    page.locator("[data-passphrase]").fill(PASSPHRASE)
    press("yes")
    page.wait_for_url("**/studies/0")
    assert (left_out(site, number), site.is_used(number)) == ((), True)
    page.goto(f"{site.origin}/studies/0/stop")
    page.locator("details summary").first.click()
    look("stop")
    press("now")
    look("stopped")
    assert faults == {}


def test_by_keyboard_alone(site, tab):
    one = tab(width="phone")
    page, words, acts = one.page, WORDS["en"], 0

    def reach(name):
        for _ in range(40):
            page.keyboard.press("Tab")
            told = page.evaluate(
                "(() => { const e = document.activeElement;"
                " return [e.labels?.[0]?.textContent ?? e.textContent,"
                "  getComputedStyle(e).outlineStyle]; })()"
            )
            if words[name] in told[0]:
                assert told[1] != "none", f"{name}: the focus cannot be seen"
                return
        raise AssertionError(f"{name} is not reached")

    def act(name, text=None):
        nonlocal acts
        reach(name)
        if text:
            page.keyboard.type(text)
        else:
            with page.expect_navigation():
                page.keyboard.press("Enter")
        acts += 1

    page.goto(site.origin)
    act("code", text=site.letter(7))
    act("open")
    act("decide")
    act("effect")
    act("passphrase", text=PASSPHRASE)
    act("yes")
    assert site.is_used(7, grades=["signed-on-device"])
    page.goto(f"{site.origin}/home")
    acts += 1
    assert words["used"] in page.locator("main").inner_text()
    act("stop")
    act("now")
    assert not site.is_used(7)
    assert acts <= MOST_ACTIONS


def test_as_a_screen_reader_goes_it(site, tab):
    """Only by what the browser's accessibility tree names, through its own default actions."""
    one = tab(width="phone")
    page, words, acts = one.page, WORDS["en"], 0
    debugger = one.context.new_cdp_session(page)

    def node(role, name):
        tree = debugger.send("Accessibility.getFullAXTree")["nodes"]
        for each in tree:
            named = each.get("name", {}).get("value", "")
            is_role = each.get("role", {}).get("value") == role
            if is_role and words[name] in named and not each.get("ignored"):
                return each
        raise AssertionError(f"no {role} is called {words[name]!r}")

    def do(role, name, script):
        nonlocal acts
        found = node(role, name)
        handle = debugger.send("DOM.resolveNode", {"backendNodeId": found["backendDOMNodeId"]})
        debugger.send(
            "Runtime.callFunctionOn",
            {"objectId": handle["object"]["objectId"], "functionDeclaration": script},
        )
        page.wait_for_load_state()
        acts += 1

    def press(name, role="button"):
        do(role, name, "function() { this.click(); }")

    def fill(name, text):
        do("textbox", name, f"function() {{ this.value = {text!r}; }}")

    page.goto(site.origin)
    fill("code", site.letter(8))
    press("open")
    page.wait_for_url("**/home")
    press("decide", role="link")
    page.wait_for_url("**/yes")
    press("effect")
    page.wait_for_url("**/preview")
    fill("passphrase", PASSPHRASE)
    press("yes")
    page.wait_for_url("**/studies/0")
    assert site.is_used(8, grades=["signed-on-device"])
    page.goto(f"{site.origin}/home")
    acts += 1
    press("stop", role="link")
    page.wait_for_url("**/stop")
    press("now")
    page.wait_for_url("**/studies/0")
    assert not site.is_used(8)
    assert acts <= MOST_ACTIONS
