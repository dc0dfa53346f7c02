"""What a hospital can show of itself afterwards: decisions, uses, commands, proved complete."""

import json
from contextlib import contextmanager

import pytest

from consent.portal.codes import spelled
from hospital_node.audit_log import NodeAudit
from ledger import verify
from ledger.audit import profiles
from ledger.log import answer
from tests.simulators.network import eventually
from tests.simulators.portal import patients_site, sent
from twinward.clock import SystemClock
from twinward.organisation import Organisation

pytestmark = pytest.mark.slow


@contextmanager
def audit_of(network, name):
    """The hospital's log, opened as one of its own commands would, beside the daemon."""
    folder = network.folder / name
    audit = NodeAudit.open(
        folder,
        org=name,
        founding=network.founding(),
        identity=Organisation(folder).identity(),
        clock=SystemClock(),
    )
    yield audit.log
    audit.close()


def proved(network, log, *topics):
    """Bodies of all entries of these topics, from an answer that verified."""
    data = answer.build(
        log.log,
        checkpoint=log.checkpoint(),
        topics=topics or None,
        body=log.body,
        question={},
        shown={"founding.json": network.founding().document.encode()},
    )
    report = verify.verify_bytes(data, founding=network.founding().document.encode())
    assert report.ok, report.faults
    lines = verify.read_archive(data)[0]["bodies.txt"].split(b"\n")[:-1]
    return [json.loads(line.split(b" ", 1)[1]) for line in lines if line != b"-"]


def patients(bodies):
    return [body["entity"][0]["what"]["identifier"]["value"] for body in bodies]


def test_a_run_a_withdrawal_and_an_erasure_in_the_log(network):
    name = network.hospitals[3]
    run = network.complete_run()
    reference = network.granted(name)[0]
    with audit_of(network, name) as log:
        denied = len(proved(network, log, "decision:deny"))
        used = proved(network, log, f"run:{run.release['run']}")
        whole = proved(network, log)
    done = [body["subtype"][0]["code"] for body in used]
    disclosed = patients(body for body in used if "meta" in body)
    assert len(set(disclosed)) == len(disclosed) == done.count("disclose") >= 20
    assert done[0] == "run-opened"
    assert done[-1] == "run-ended"
    assert "reserved" in done
    assert all(profiles.problems(body) == [] for body in whole)

    for org in ("coordinator", name):  # as of heads on the ledger, which anyone can check
        proof = network.folder / f"{org}.acts.zip"
        network.stage.command("audit", "ask", "admin-acts", org, "--proof", proof.name)
        report = verify.verify_bytes(proof.read_bytes())
        assert report.ok, report.faults
        assert "anchor" in {check.name for check in report.checks}, org

    seed = ("--seed", "4 6 1 1 3 5 2 of an auditor's dice")
    words = (name, run.release["run"], *seed, "--count", "5", "--out", "sample.zip", "--now")
    network.stage.command("node", "sample", *words)
    checked = network.stage.command("audit", "check-sample", "sample.zip", "coordinator", *seed)
    assert checked["patients_of_the_run"] == len(disclosed)
    assert (len(checked["drawn"]), checked["with_findings"]) == (5, 0), checked
    assert {one["record"] for one in checked["drawn"]} <= set(disclosed)
    assert all(len(one["letters"]) == 1 for one in checked["drawn"])

    with network.wallet() as wallet:
        stops_later = network.granted(name)[1]
        letter = wallet.entry(stops_later).letter
    with patients_site(network, name) as visitor:
        sent(visitor, "/sign-in", on="/sign-in", code=spelled(letter.code))
        assert "Your data went into a sum." in visitor.get("/studies/0/uses").text
        checked = sent(visitor, "/studies/0/uses", on="/studies/0/uses").text
        assert "No line is missing" in checked
        assert "The stamp of the other hospitals is on" in checked

    network.withdraw(reference)
    network.cohort(name)
    with audit_of(network, name) as log:
        decisions = proved(network, log, "decision:deny")
        assert len(decisions) == denied + 1
        gone = patients(decisions)[-1]
        topic = log.bodies.topic(gone)
        history = [b["outcomeDesc"] for b in proved(network, log, topic, "kind:consent-decision")
                   if patients([b]) == [gone] and "outcomeDesc" in b]  # fmt: skip
        assert decisions[-1]["outcomeDesc"] == history[-1] == "withdrawn-here"

    with audit_of(network, name) as log:
        clerk_takes_down = patients(b for b in proved(network, log) if "meta" in b)[-1]
    receipt = network.stage.command(
        "node", "withdraw", name, clerk_takes_down, "--study", network.study
    )
    assert receipt["nonce"] is None
    (row,) = network.stage.command("audit", "ask", "attested-by-staff", name)["rows"]
    assert row[1:3] == [1, 0]

    assert network.stage.command("node", "check-audit", name)["entries"] > 0
    said = network.stage.command("node", "erase-audit", name, gone)
    assert said["erased"] >= 2
    for path in (network.folder / name / "state" / "audit").iterdir():
        assert gone.encode() not in path.read_bytes(), path
    with audit_of(network, name) as log:
        assert log.bodies.topic(gone) is None
        assert proved(network, log, topic) == []  # the entries are there, and say nothing
        assert gone not in patients(b for b in proved(network, log) if "meta" in b)
    assert network.status(name)["audit"]["entries"] > 0
    with patients_site(network, name) as visitor:
        sent(visitor, "/sign-in", on="/sign-in", code=spelled(letter.code))
        sent(visitor, "/studies/0/stop", on="/studies/0/stop")
        assert "You stopped." in visitor.get("/studies/0").text
    eventually(lambda: network.waiting(name) == 0)
    network.withdraw(stops_later)  # the wallet of the tests that follow is to know it too
    network.wait_for_consents()


def test_while_the_ledger_is_down_the_lag_is_shown_and_then_made_up(network):
    name = network.hospitals[0]
    network.stop(name)
    network.set(name, audit_anchor_seconds=0.5)
    network.up(name)
    try:
        eventually(lambda: network.status(name)["audit"]["not_anchored"] == 0)
        with network.paused(network.ledger_process()):
            network.withdraw(network.granted(name)[1])
            network.cohort(name)
            eventually(lambda: network.status(name)["audit"]["not_anchored"] > 0)
            network.stage.command("explorer", "invite", "coordinator", "ada")
            shown = network.stage.command("server", "status", "coordinator")
            assert shown["ledger"]["block"] is None
            assert shown["audit"]["not_anchored"] > 0
        eventually(lambda: network.status(name)["audit"]["not_anchored"] == 0)
    finally:
        network.stop(name)
        network.set(name, audit_anchor_seconds=3600.0)
        network.up(name)
