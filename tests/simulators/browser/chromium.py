"""A headless Chromium that counts what it complained about, and axe-core for its pages."""

import functools
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

AXE = Path(__file__).parents[2] / "e2e" / "browser" / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = {"desk": (1280, 900), "phone": (390, 844)}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@functools.cache
def missing():
    """Why browser tests cannot run here, or None."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "Playwright is not installed: pip install playwright"
    if not program():
        return "there is no Chromium: apt-get install chromium"
    if not AXE.is_file():
        return "axe-core is not installed: npm ci in tests/e2e/browser"
    return None


def program():
    """The browser of the system."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@contextmanager
def chromium():
    """The browser; the test is skipped with a reason where there is none."""
    if reason := missing():
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    # A sandbox inside a container's root account is not possible; pages are our own.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=arguments)
        yield browser
        browser.close()


class Tab:
    """A page of one width that remembers everything that went wrong on it."""

    def __init__(self, browser, *, width="desk", scripts=True, colours="light", state=None, **more):
        wide, high = WIDTHS[width]
        self.context = browser.new_context(
            viewport={"width": wide, "height": high},
            java_script_enabled=scripts,
            color_scheme=colours,
            storage_state=state,
            **more,
        )
        self.wide = wide
        self.page = self.context.new_page()
        self.trouble = []
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("console", self._heard)
        self.page.on("requestfailed", lambda request: self.trouble.append(request.url))

    def _heard(self, message):
        if message.type in {"error", "warning"}:
            self.trouble.append(message.text)

    def faults(self):
        """What axe-core finds on the page, one line each."""
        # Through the debugger: the page's own policy, which refuses scripts, does not apply to it.
        self.page.evaluate(AXE.read_text(encoding="utf-8") + "; null")
        found = self.page.evaluate(
            """rules => Promise.race([
                axe.run(document, {runOnly: {type: 'tag', values: rules}}),
                new Promise((_, no) => setTimeout(() => no(new Error('axe-core is slow')), 30000)),
            ])""",
            RULES,
        )
        return [
            f"{each['id']}: {node['html'][:120]}" for each in found["violations"]
            for node in each["nodes"]
        ]  # fmt: skip

    def is_too_wide(self, wide=None):
        """Whether a reader would have to scroll sideways; in a window of the tab's own width."""
        wider = self.page.evaluate("document.documentElement.scrollWidth")
        return wider > (wide or self.wide)

    def close(self):
        self.context.close()
