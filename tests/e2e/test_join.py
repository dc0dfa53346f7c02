"""A hospital joins a network: killed at every step, endorsed, renewed, used, put out."""

import contextlib
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509

from hospital_node.node import connect_ledger
from ledger import verify
from server import founding_ceremony
from tests.simulators.joining import FOUNDERS, NEW, founded
from tests.simulators.network import PATIENTS, SLACK, Run, eventually
from tests.unit.docs.commands import ROOT
from twinward.organisation import Organisation

pytestmark = pytest.mark.slow
BAR_SECONDS = 60.0
OUT_SECONDS = 5.0


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with founded(tmp_path_factory.mktemp("join")) as made:
        yield made


def killed_after(network, token, line):
    """A join that is killed as soon as it has said this."""
    process = network.begin_join(token)
    for said in process.stderr:
        if line in said:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def vote_on(network, name, *, suspended):
    """The other hospitals vote on the standing of this one, on the ledger."""
    folder = network.folder / "coordinator"
    founding = founding_ceremony.load_founding(folder)
    for voter in FOUNDERS:
        if voter == name:
            continue
        home = network.folder / voter
        chain = connect_ledger(founding, Organisation(home).ledger_key(), folder=home)
        with contextlib.closing(chain):
            vote = chain.suspend if suspended else chain.reinstate
            vote(bytes.fromhex(founding.member(name).fingerprint))


def test_a_join_that_is_killed_at_every_step_goes_on_and_only_the_hospitals_let_it_in(network):
    token = network.invite()
    for line in ("[1/", "[2/", "[3/"):
        killed_after(network, token, line)
    assert network.is_asking()
    # Neither the request of somebody else nor a name that is taken gets anywhere with it.
    network.refused("TW6018", *network.join_words(token, folder="impostor", place=4))
    network.refused("TW6024", "server", "invite", "coordinator", "harbour")
    network.refused("TW6044", "node", "endorse", "harbour", NEW, "--identity", "00" * 8)
    # A suspended hospital endorses nobody; the same hospital twice is one.
    vote_on(network, "summit", suspended=True)
    (asking,) = network.do("node", "endorse", "harbour")["candidates"]
    words = (NEW, "--identity", asking["identity"])
    network.refused("TW6032", "node", "endorse", "summit", *words)
    vote_on(network, "summit", suspended=False)
    for _ in range(2):
        assert network.do("node", "endorse", "harbour", *words)["endorsed"] == ["harbour"]
    assert network.is_asking()
    # Endorsed by enough; killed again when the ledger has it, and before.
    network.do("node", "endorse", "meadow", *words)
    network.stage.kill("coordinator")  # whatever it had not done it does when it is back
    network.up("coordinator", role="server")
    eventually(lambda: not network.is_asking())
    killed_after(network, None, "[4/")
    done = network.do("node", "join", NEW)
    assert done["members"] == ["coordinator", *FOUNDERS, NEW]
    assert not (network.folder / NEW / "join").exists()
    assert network.do("node", "join", NEW)["active"]  # nothing to do is success


def as_written(network):
    """The commands of the page, one shell line each, on the ports of this network."""
    text = (ROOT / "docs" / "join.md").read_text(encoding="utf-8")
    block = re.search(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    lines = [line for line in block.splitlines() if line.startswith("twinward")]
    assert "node up" in lines[-1]
    return [
        line.replace("node join abbey -", f"node join abbey - --base-port {network.port + 12}")
        for line in lines
    ]


def test_a_hospital_joins_by_the_commands_of_the_page_in_less_than_a_minute(network):
    (network.folder / "data" / "processed.abbey.data").write_bytes(
        (network.folder / network.data(NEW)).read_bytes()
    )
    lines = as_written(network)
    assert len(lines) <= 10
    # A fourth hospital is there by now: all but one are three.
    lines.insert(2, lines[2].replace("harbour", NEW))
    begun = time.monotonic()
    said = {}
    for line in lines[:-1]:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=network.folder,
            env=os.environ | said | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=SLACK,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, (line, done.stdout + done.stderr)
        if found := re.search(r"identity is ([0-9a-f]{64})", done.stderr):
            said["SAID_BY_PHONE"] = found[1][:20]
    took = time.monotonic() - begun
    assert "is a member of `demo`" in done.stdout
    assert took < BAR_SECONDS
    network.up("abbey")
    network.stage.kill("abbey")
    print(f"from token to member: {took:.1f} s")


def test_a_certificate_is_renewed_and_its_authority_replaced_while_the_node_is_up(network):
    network.up(NEW)
    desk = ("127.0.0.1", network.port + 4 + 2 * 3)

    def shown():
        return x509.load_pem_x509_certificate(ssl.get_server_certificate(desk).encode())

    first = shown()
    network.do("node", "renew", NEW)
    second = shown()
    assert second.serial_number != first.serial_number
    assert second.public_key() == first.public_key()
    # Authority replaced: who trusts only the old one (a patient's letter) still gets in.
    old = (network.folder / NEW / "ca.pem").read_text()
    network.do("server", "roll-ca", "coordinator")
    network.refused("TW6039", "server", "roll-ca", "coordinator")
    network.do("node", "renew", "harbour")  # trusted the old one until this moment
    network.do("node", "renew", NEW)
    assert shown().issuer != first.issuer
    for trusted in (old, (network.folder / NEW / "ca.pem").read_text()):
        assert ssl.get_server_certificate(desk, ca_certs=written(network, trusted))
    for name in ("meadow", "summit", "abbey"):
        network.do("node", "renew", name)
    network.do("server", "retire-ca", "coordinator", "--every-member-renewed")
    network.do("node", "renew", NEW)
    assert (network.folder / NEW / "ca.pem").read_text().count("BEGIN") == 1
    # One that has expired is renewed with a token, by the hospital that it is for alone.
    token, last = network.invite(NEW, "--renew"), shown().serial_number
    network.do("node", "renew", NEW, token)
    assert shown().serial_number != last
    network.refused("TW6018", "node", "renew", "harbour", token)
    eventually(lambda: (network.status(NEW) or {}).get("healthy"))


def written(network, pem):
    path = network.folder / "trusted.pem"
    path.write_text(pem)
    return str(path)


def test_a_hospital_leaves_and_is_told_what_stays(network):
    left = network.do("node", "leave", "abbey", "--yes")
    page = (network.folder / left["page"]).read_text()
    assert "What stays, and why" in page
    members = {one["org"]: one for one in network.do("server", "members", "coordinator")["members"]}
    assert members["abbey"]["why_not"] == "left"
    assert network.do("node", "leave", "abbey", "--yes") == left  # again is success
    network.refused("TW6029", "node", "endorse", "abbey")
    network.up("abbey")  # its desk still takes withdrawals
    network.stage.kill("abbey")


def test_a_study_runs_with_who_joined_and_goes_on_without_it_once_it_is_revoked(network):
    plan = network.do(
        "server", "plan", "coordinator", "--study", "heart-risk", "--slot", "0.2",
        "--holdout-share", "0",
    )  # fmt: skip
    sites = (*FOUNDERS, NEW)
    for name in sites:
        network.do("node", "approve", name, plan["study"], plan["plan"], "--no-attack")
        words = ("--study", "heart-risk", "--out", f"{name}.letters")
        network.do("node", "letters", name, *words)
    network.stage.kill(NEW)
    network.up(*sites)
    letters = [word for name in sites for word in ("--letters", f"{name}.letters")]
    network.do("consent", "grant", "--wallet", "patients", *letters, "--all")
    eventually(
        lambda: all(network.status(name)["studies"][0].get("cohort") == PATIENTS for name in sites)
    )
    run = Run(network.stage.events("server", "run", "coordinator", "--study", "heart-risk"))
    assert NEW in run.until("step", step=3)["members"]
    network.do("server", "revoke", "coordinator", NEW)
    revoked = time.monotonic()
    eventually(lambda: NEW not in run.until("step")["members"])
    assert time.monotonic() - revoked < OUT_SECONDS
    members = network.do("server", "status", "coordinator")["members"]
    online = {one["org"]: one["online"] for one in members}
    assert not online[NEW]
    assert online["harbour"]
    network.refused("TW6029", "node", "renew", NEW)
    network.refused("TW6029", "node", "leave", NEW, "--yes")
    released = run.end().release
    assert released, run.last
    founding = (network.folder / "harbour" / "founding.json").read_bytes()
    report = verify.verify(network.folder / released["pack"], founding=founding)
    assert report.ok, report.faults
    joined = next(check.detail for check in report.checks if check.name == "joined")
    assert NEW in joined
