"""Heads of an audit log on the real contract, and an answer proved by what stands there."""

import json
from contextlib import closing

import pytest

from hospital_node.egress import Egress
from ledger import verify
from ledger.audit.anchoring import Anchoring, LedgerAnchor
from ledger.audit.log import AuditLog
from ledger.calls import ContractRefused
from ledger.questions import logged_proof, proof
from ledger.rpc import Rpc
from tests.simulators.finished_run import found
from twinward.clock import FixedClock
from twinward.errors import LedgerError
from twinward.signing import Identity

NOW = 1_790_000_000.0
ORGS = ("coordinator", "north", "south", "east", "west")  # as the network's accounts


class Site:
    """Hospital `north` with its own account of the network."""

    def __init__(self, folder, network):
        self.network = network
        self.identities = {name: Identity.generate() for name in ORGS}
        self.founding = found(
            self.identities,
            accounts={o: m.account for o, m in zip(ORGS, network.members, strict=True)},
            chain={
                "genesis_hash": network.genesis.hex(),
                "contracts": network.contracts.to_json(),
            },
        )
        self.egress = Egress(folder / "egress.jsonl", clock=FixedClock(NOW))
        self.rpc = Rpc(network.url)
        self.anchor = LedgerAnchor(
            network.hospitals[0],
            rpc=self.rpc,
            tip=self.tip,
            leaving=lambda size: self.egress.let_out("ledger", "audit-head", to="x", size=size),
        )
        self.log = AuditLog(
            folder,
            org="north",
            genesis=network.genesis,
            identity=self.identities["north"],
            clock=FixedClock(NOW),
        )

    def tip(self):
        """What the coordinator says of its newest block."""
        statement = self.network.coordinator.tip().statement(genesis=self.network.genesis, now=NOW)
        return statement.signed_by(self.identities["coordinator"])

    def did(self, what):
        self.log.did(what, by="urn:twinward:account:root")

    def tick(self):
        """What `Anchoring` does at its times."""
        Anchoring(self.log, self.anchor, every_seconds=1.0).tick()

    def prove(self, *, anchored=True):
        return logged_proof.prove(
            "admin-acts", {}, log=self.log, founding=self.founding, anchored=anchored
        )

    def close(self):
        self.log.close()
        self.egress.close()
        self.rpc.close()


def test_an_answer_is_proved_up_to_the_ledger_and_the_contract_refuses_another_past(
    network, tmp_path
):
    site = Site(tmp_path, network)
    for ticks in range(4):
        for _ in range(3 * ticks):
            site.did("limit")
        site.tick()
    site.did("limit")  # after the newest head: not in an anchored answer
    answer, data = site.prove()
    assert len(answer.rows) == 18
    report = verify.verify_bytes(data)
    assert report.ok, report.faults
    said = {check.name: check.detail for check in report.checks}
    assert said["anchor"].startswith("head 4 of 4 on the ledger, block ")
    assert proof.recheck(data).as_json() == answer.as_json()
    assert len(site.prove(anchored=False)[0].rows) == 19
    copy = logged_proof.export(site.log, founding=site.founding, patients=False, anchored=True)
    assert "anchor" in {check.name for check in verify.verify_bytes(copy).checks}
    size, root = site.anchor.anchored()
    assert (size, root) == (4, site.log.heads.root_at(4))  # ticks, not entries
    with pytest.raises(ContractRefused):
        network.hospitals[0].anchor(size=6, root=bytes([7]) * 32, proof=[bytes(32)])
    assert site.anchor.anchored() == (size, root)
    left = (tmp_path / "egress.jsonl").read_text().splitlines()
    assert {json.loads(line)["kind"] for line in left} == {"audit-head"}
    site.close()

    rolled_back = tmp_path / "restored"
    rolled_back.mkdir()
    with closing(Site(rolled_back, network)) as again, pytest.raises(LedgerError) as refusal:
        again.tick()
    assert refusal.value.code == "TW3612"


def test_evidence_of_another_ledger_state_is_not_kept(network, tmp_path, monkeypatch):
    monkeypatch.setattr("ledger.audit.anchoring._TIP_SECONDS", 0.2)
    site = Site(tmp_path, network)
    stands = network.hospitals[0].anchored(2)
    before = 0 if stands is None else stands.size
    with pytest.raises(LedgerError) as refusal:
        site.anchor.evidence(before + 1, bytes(32))
    assert refusal.value.code == "TW3614"
    assert site.log.anchored() is None
    site.close()
