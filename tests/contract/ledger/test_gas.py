"""What each call costs, held against the committed report: more than 5 % worse fails.

``python tests/contract/ledger/test_gas.py`` writes the report anew, after a reviewed change.
"""

import hashlib
import json
import tempfile
from pathlib import Path

import ledger.contracts
from ledger.chain import Kind
from ledger.rpc import Rpc
from tests.simulators.ledger import merkle
from tests.simulators.ledger.network import LedgerNetwork, Patient, RunningNode

REPORT = Path(ledger.contracts.__file__).parent / "gas.json"
WORSE = 1.05


def digest(number):
    return hashlib.sha256(b"gas" + bytes([number])).digest()


def measured(folder):
    """Gas by call; nothing random is in it, so that equal code gives equal figures."""
    running = RunningNode(folder)
    keys = [hashlib.sha256(b"key" + bytes([n])).digest() for n in range(5)]
    network = LedgerNetwork(running.url, genesis=running.genesis.hash(), keys=keys)
    rpc, report = Rpc(running.url), {}

    def newest():
        block = rpc.call("eth_getBlockByNumber", "latest", False)
        return int(rpc.call("eth_getTransactionReceipt", block["transactions"][0])["gasUsed"], 16)

    for number, name in enumerate(("Membership", "Consent", "Provenance", "AuditAnchor"), 1):
        block = rpc.call("eth_getBlockByNumber", hex(number), False)
        receipt = rpc.call("eth_getTransactionReceipt", block["transactions"][0])
        report[f"deploy {name}"] = int(receipt["gasUsed"], 16)

    def costs(name, contract, function, *arguments, by=None):
        (by or hospital).write(contract, function, *arguments, gas=8_000_000)
        report[name] = newest()

    coordinator, hospital = network.coordinator, network.hospitals[0]
    patients = [
        Patient(network, study=digest(9), key=hashlib.sha256(b"p" + bytes([n])).digest())
        for n in range(41)
    ]
    grants = [patient.signed_grant() for patient in patients]

    def batch(items):
        return [grant for grant, _ in items], [signature for _, signature in items]

    costs("Consent.grantBatch of 1, the first ever", "Consent", "grantBatch", *batch(grants[:1]))
    costs("Consent.grantBatch of 20", "Consent", "grantBatch", *batch(grants[1:21]))
    costs("Consent.withdraw", "Consent", "withdraw", *patients[0].signed_withdrawal())
    costs(
        *("Consent.attestWithdrawal", "Consent", "attestWithdrawal"),
        *(patients[1].study, patients[1].subject),
    )
    leaves = [
        merkle.leaf_hash(patient.digest(grant) + signature)
        for patient, (grant, signature) in zip(patients[21:], grants[21:], strict=True)
    ]
    root = merkle.root(leaves)
    costs("Consent.anchorBatch", "Consent", "anchorBatch", root, len(leaves))
    place = (2, root, 7, merkle.inclusion(7, leaves))
    costs("Consent.prove in a batch of 20", "Consent", "prove", place, *grants[28])
    plan = (digest(1), int(Kind.PLAN), 1, [])
    costs("Provenance.record of a plan", "Provenance", "record", plan, by=coordinator)
    models = [(digest(20 + n), int(Kind.MODEL), 0, [digest(1)]) for n in range(10)]
    costs("Provenance.recordBatch of 10", "Provenance", "recordBatch", models, by=coordinator)
    costs("Provenance.approve", "Provenance", "approve", digest(1))
    costs("Provenance.stateCap", "Provenance", "stateCap", 900_000)
    costs("Provenance.reserve, the first", "Provenance", "reserve", (digest(2), digest(1), 5))
    bookings = [(digest(40 + n), digest(1), 5) for n in range(10)]
    costs("Provenance.reserveBatch of 10", "Provenance", "reserveBatch", bookings)
    costs("Provenance.raiseFence, the first", "Provenance", "raiseFence")
    log = [merkle.leaf_hash(bytes([n])) for n in range(100)]
    costs("AuditAnchor.anchor, the first", "AuditAnchor", "anchor", 70, merkle.root(log[:70]), [])
    costs(
        *("AuditAnchor.anchor from 70 to 100", "AuditAnchor", "anchor", 100),
        *(merkle.root(log), merkle.consistency(70, log)),
    )
    costs("Membership.suspend, first vote", "Membership", "suspend", network.members[2].id)
    costs(
        *("Membership.suspend, deciding vote", "Membership", "suspend", network.members[2].id),
        by=network.hospitals[2],
    )
    rpc.close()
    network.close()
    running.stop()
    return report


def test_no_call_costs_five_per_cent_more_than_the_committed_report(tmp_path):
    committed, now = json.loads(REPORT.read_text()), measured(tmp_path)
    assert set(now) == set(committed)
    worse = {name: (committed[name], gas) for name, gas in now.items()
             if gas > WORSE * committed[name]}  # fmt: skip
    assert worse == {}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        REPORT.write_text(json.dumps(measured(Path(folder)), indent=1) + "\n")
