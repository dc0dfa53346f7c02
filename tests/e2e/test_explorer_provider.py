"""Signing in at a provider with a real browser: its cookies, its policy, its way back."""

import subprocess
import sys
import time

import pytest

from tests.simulators.browser.chromium import WIDTHS, Tab, chromium
from tests.simulators.explorer.world import World
from tests.simulators.oidc import provider as simulator
from tests.simulators.secsum.tls import Authority
from twinward.demo.stage import free_ports

pytestmark = pytest.mark.timeout(120)


def started(words, stream):
    pipes = {"stdin": subprocess.PIPE, stream: subprocess.PIPE}
    return subprocess.Popen([sys.executable, *map(str, words)], text=True, **pipes)


def ended(process, stream):
    process.stdin.close()
    stream.close()
    process.wait(30)


@pytest.fixture
def site(tmp_path):
    """Origin of the command itself at `localhost`; the provider is at another site."""
    world = World(tmp_path / "world")
    folder, port = world.audited, free_ports(1)
    origin = f"http://localhost:{port}"
    authority = Authority()
    key, certificate = authority.issue("provider")
    for name, data in {
        "ca.pem": authority.pem, "provider.key": key, "provider.pem": certificate,
        "oidc.secret": simulator.SECRET.encode(),
    }.items():  # fmt: skip
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600)
    words = [simulator.__file__, folder, int(time.time()), f"{origin}/sign-in/callback"]
    with started(words, "stdout") as provider:
        issuer = f"https://127.0.0.1:{int(provider.stdout.readline())}"
        (folder / "explorer.toml").write_text(
            f'[oidc]\nissuer = "{issuer}"\nclient_id = "{simulator.CLIENT}"\n'
            'client_secret = "oidc.secret"\nca = "ca.pem"\n'
        )
        invite = ["explorer", "invite", folder, "ada", "--oidc", issuer, "--subject", "sub-of-ada"]
        subprocess.run([sys.executable, "-m", "twinward", *invite], check=True, capture_output=True)
        up = ["-m", "twinward", "explorer", "up", folder, "--offline", "--plain", "--port", port]
        with started([*up, "--name", "localhost", "--end-with-stdin"], "stderr") as process:
            assert "explorer is up" in process.stderr.readline()
            yield origin
            ended(process, process.stderr)
        ended(provider, provider.stdout)


def test_a_browser_comes_back_signed_in_with_scripts_and_without(site):
    with chromium() as browser:
        for width, scripts in zip(WIDTHS, (True, False), strict=True):
            tab = Tab(browser, width=width, scripts=scripts, ignore_https_errors=True)
            for path in ("/join/provider", "/timeline"):  # the second leads to `/sign-in`
                tab.page.goto(site + path)
                assert not scripts or tab.faults() == []
                assert not tab.is_too_wide()
            tab.page.get_by_role("button", name="Sign in at").click()
            assert not scripts or tab.faults() == []
            assert not tab.is_too_wide()
            tab.page.get_by_role("link", name="Go on to").click()
            tab.page.get_by_role("link", name="I am Ada").click()
            tab.page.wait_for_url(f"{site}/timeline")
            assert tab.page.locator("h1").inner_text() == "Timeline"
            # Chromium asks both sites for an icon, which neither has; a policy's refusal stays.
            assert [each for each in tab.trouble if "404" not in each and "icon" not in each] == []
            tab.page.get_by_role("button", name="Sign out").click()
            tab.page.goto(f"{site}/timeline")
            assert "/sign-in?next=" in tab.page.url
            tab.close()
