"""The explorer beside a living network: over TLS of the network's own CA, following the ledger."""

import json
import re
import ssl
import subprocess
import sys

import httpx
import pytest

from twinward.demo.stage import free_ports

PASSPHRASE = "correct horse battery"


def twinward(*words):
    return [sys.executable, "-m", "twinward", "explorer", *map(str, words)]


@pytest.fixture
def site(network):
    """The coordinator's site, and a client that trusts the network's CA alone."""
    folder, port = network.folder / "coordinator", free_ports(1)
    process = subprocess.Popen(
        twinward("up", folder, "--port", port, "--end-with-stdin"),
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert "explorer is up" in process.stderr.readline()
        trust = ssl.create_default_context(cafile=folder / "ca.pem")
        origin = f"https://127.0.0.1:{port}"
        with httpx.Client(base_url=origin, verify=trust, trust_env=False, timeout=30) as client:
            yield client
        process.stdin.close()
        process.stderr.close()
        process.wait(30)


def accept(site, folder, name):
    done = subprocess.run(
        twinward("invite", folder, name, "--json"), capture_output=True, text=True, check=True
    )
    csrf = re.search(r'name="csrf" value="(\w+)"', site.get("/join").text)[1]
    form = {"csrf": csrf, "name": name, "code": json.loads(done.stdout)["code"]}
    origin = str(site.base_url).rstrip("/")
    answer = site.post("/join", data=form | {"passphrase": PASSPHRASE}, headers={"origin": origin})
    assert answer.status_code == 303, answer.text


@pytest.mark.slow
def test_pages_follow_the_ledger_and_say_how_far_that_is_proved(network, site):
    accept(site, network.folder / "coordinator", "ada")
    assert "Secure" in str(site.cookies.jar) or all(c.secure for c in site.cookies.jar)
    page = site.get("/overview.json").json()
    granted = sum(len(network.granted(name)) for name in network.hospitals)
    assert page["figures"]["consents_granted"] == granted
    assert page["figures"]["members"] == 1 + len(network.hospitals)
    assert page["verified"]["consents_proved"] is True
    assert page["verified"]["fault"] is None
    text = site.get("/overview").text
    assert "Consents proved complete at block" in text or "Verified against checkpoint" in text
    assert "1 operator" in text
    shown = {row["hospital"] for row in site.get("/consents.json").json()["states"]}
    assert shown == set(network.hospitals)


def test_a_browser_that_does_not_trust_the_network_is_not_served(network, site):
    with pytest.raises(httpx.ConnectError, match="certificate"):
        httpx.get(f"{str(site.base_url).rstrip('/')}/overview", trust_env=False)
