"""The explorer as auditors use it: a real browser, desk and phone, with and without scripts."""

import json
import subprocess
import sys

import pytest

from tests.simulators.browser.chromium import WIDTHS, Tab, chromium
from tests.simulators.explorer.world import HEART, World
from twinward.demo.stage import free_ports

pytestmark = pytest.mark.timeout(120)

PASSPHRASE = "correct horse battery"


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("explorer"))
    made.sign_checkpoint(witnesses=("basel", "bern"))
    return made


@pytest.fixture(scope="module")
def origin(world, browser):
    """The command itself, on a copy of the network's files, as on an auditor's own machine."""
    port = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "twinward", "explorer", "up", str(world.audited), "--offline",
         "--plain", "--port", str(port), "--end-with-stdin"],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert "explorer is up" in process.stderr.readline()
        yield f"http://127.0.0.1:{port}"
        process.stdin.close()
        process.stderr.close()
        process.wait(30)


def invite(world, name, *more):
    words = ["explorer", "invite", str(world.audited), name, *more, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "twinward", *words], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)["code"]


@pytest.fixture(scope="module")
def state(world, origin, browser):
    """Cookies of an auditor who accepted an invitation without scripts."""
    tab = Tab(browser, scripts=False)
    tab.page.goto(f"{origin}/join")
    tab.page.get_by_label("Name").fill("ada")
    tab.page.get_by_label("Invitation code").fill(invite(world, "ada"))
    tab.page.get_by_label("New passphrase").fill(PASSPHRASE)
    tab.page.get_by_role("button", name="Accept").click()
    assert tab.page.url == f"{origin}/overview"
    kept = tab.context.storage_state()
    tab.close()
    return kept


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_is_whole_accessible_and_fits(
    browser, world, origin, state, tmp_path, width, scripts
):
    pages = {**world.addresses(), "nothing": "/nothing-here"}
    tab = Tab(browser, width=width, scripts=scripts, state=state)
    faults = {}
    for name, path in pages.items():
        answer = tab.page.goto(origin + path)
        assert answer.status == (404 if name == "nothing" else 200), name
        assert tab.page.locator("h1").count() == 1
        if name != "nothing":
            assert "Verified against checkpoint" in tab.page.locator(".banner").inner_text()
            faults[name] = list(tab.trouble)
        if scripts:  # axe-core is a script; the markup is the same without
            faults[name] = faults.get(name, []) + tab.faults()
        if tab.is_too_wide():
            faults.setdefault(name, []).append("wider than the window")
        tab.trouble.clear()
        tab.page.screenshot(path=tmp_path / f"{name}-{width}.png", full_page=True)
    tab.close()
    assert {name: each for name, each in faults.items() if each} == {}
    assert len(list(tmp_path.glob("*.png"))) == len(pages)


@pytest.mark.parametrize("path", ["/sign-in", "/join"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_doors_are_accessible_too(browser, origin, path, width):
    tab = Tab(browser, width=width)
    tab.page.goto(origin + path)
    assert tab.faults() == []
    assert not tab.is_too_wide()
    assert tab.trouble == []
    tab.close()


def test_dark_colours_keep_their_contrast(browser, world, origin, state):
    tab = Tab(browser, colours="dark", state=state)
    faults = {}
    for name, path in world.addresses().items():
        tab.page.goto(origin + path)
        faults[name] = tab.faults()
    tab.close()
    assert {name: each for name, each in faults.items() if each} == {}


def test_an_auditor_signs_in_and_finds_a_model_by_keyboard_alone(browser, world, origin, state):
    tab = Tab(browser)
    page = tab.page
    page.goto(f"{origin}/models")  # leads to the door, and back
    focused = lambda: page.evaluate("document.activeElement.innerText || document.activeElement.id")  # noqa: E731
    press_until(page, lambda: focused() == "name")
    page.keyboard.type("ada")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSPHRASE)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{origin}/models")
    page.keyboard.press("Tab")
    assert focused() == "Skip to the content"
    page.keyboard.press("Enter")
    press_until(page, lambda: "cardiac_risk" in focused())
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/lineage/{world.release.hex()}")
    tab.close()


def press_until(page, there, *, most=40):
    for _ in range(most):
        page.keyboard.press("Tab")
        if there():
            return
    raise AssertionError("the keyboard does not lead there")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_the_timeline_is_narrowed_with_and_without_scripts(browser, origin, state, scripts):
    tab = Tab(browser, width="phone", scripts=scripts, state=state)
    page = tab.page
    page.goto(f"{origin}/timeline")
    page.get_by_label("Kind").select_option("Provenance.Approved")
    if not scripts:
        page.get_by_role("button", name="Show").click()
    page.wait_for_url("**kind=Provenance.Approved**")
    rows = page.locator("#found tbody tr")
    rows.nth(6).wait_for()
    assert rows.count() == 7
    assert "approved" in rows.first.inner_text()
    assert tab.trouble == []
    tab.close()


def test_a_page_prints_its_content_and_nothing_else(browser, origin, state, tmp_path):
    tab = Tab(browser, state=state)
    tab.page.goto(f"{origin}/privacy")
    tab.page.emulate_media(media="print")
    assert not tab.page.get_by_role("navigation").is_visible()
    assert not tab.page.get_by_role("button", name="Sign out").is_visible()
    assert tab.page.get_by_role("table").is_visible()
    assert tab.page.locator(".banner").is_visible()
    assert tab.page.pdf(path=tmp_path / "privacy.pdf").startswith(b"%PDF")
    tab.close()


def test_scripts_and_styles_that_are_not_ours_do_not_run(browser, origin, state):
    tab = Tab(browser, state=state)
    tab.page.goto(f"{origin}/overview")
    ran = tab.page.evaluate(
        """async () => {
        const script = document.createElement('script');
        script.textContent = 'window.foreign = 1';
        document.head.append(script);
        await fetch('https://evil.example/').catch(() => {});
        return window.foreign === undefined;
        }"""
    )
    assert ran
    assert any("Content Security Policy" in each for each in tab.trouble)
    tab.close()


def test_a_scoped_auditor_sees_the_scope_on_every_page(browser, world, origin):
    tab = Tab(browser)
    tab.page.goto(f"{origin}/join")
    tab.page.get_by_label("Name").fill("bob")
    tab.page.get_by_label("Invitation code").fill(invite(world, "bob", "--study", HEART))
    tab.page.get_by_label("New passphrase").fill(PASSPHRASE)
    tab.page.keyboard.press("Enter")
    tab.page.wait_for_url(f"{origin}/overview")
    assert f"for {HEART} only" in tab.page.locator("footer").inner_text()
    tab.close()
