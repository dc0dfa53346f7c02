"""Heads of an audit log on the real contract, and an answer proved by what stands there."""

from contextlib import closing

import pytest
from eth_hash.auto import keccak

from hospital_node.audit_anchor import LedgerAnchor
from hospital_node.audit_log import NodeAudit
from hospital_node.egress import Egress
from ledger import proofs, verify
from ledger.audit.log import AuditLog
from ledger.calls import ContractRefused
from ledger.evidence import as_json
from ledger.log import answer
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
        self.anchor = LedgerAnchor(network.hospitals[0], self.egress)
        self.log = AuditLog(
            folder,
            org="north",
            genesis=network.genesis,
            identity=self.identities["north"],
            clock=FixedClock(NOW),
        )
        self.audit = NodeAudit(self.log, clock=FixedClock(NOW))

    def answer(self, *topics):
        """As of the newest head, with the contract's words under a block that is signed."""
        tip = self.network.coordinator.tip()
        slot = int.from_bytes(keccak((2).to_bytes(32, "big") + bytes(32)), "big")
        with closing(Rpc(self.network.url)) as rpc:
            block = rpc.call("eth_getBlockByNumber", hex(tip.number), False)
            proof = rpc.call(
                "eth_getProof",
                self.network.contracts.audit_anchor,
                [hex(slot), hex(slot + 1)],
                hex(tip.number),
            )
        statement = tip.statement(genesis=self.network.genesis, now=NOW)
        signed = {
            "tip": as_json(statement.signed_by(self.identities["coordinator"])),
            "header": "0x" + proofs.header_rlp(block).hex(),
        }
        return answer.build(
            self.log.log,
            checkpoint=self.log.head().note,
            topics=topics,
            body=self.log.body,
            question={},
            shown={
                "founding.json": self.founding.document.encode(),
                "anchor.json": self.log.head().record(block=signed, proof=proof),
            },
        )

    def close(self):
        self.log.close()
        self.egress.close()


def test_an_answer_is_proved_up_to_the_ledger_and_the_contract_refuses_another_past(
    network, tmp_path
):
    site = Site(tmp_path, network)
    for tick in range(4):
        for _ in range(3 * tick):
            site.audit.did("run-opened", about=[f"run:{tick}"])
        site.log.tick(site.anchor)
    report = verify.verify_bytes(site.answer("run:3"))
    assert report.ok, report.faults
    said = {check.name: check.detail for check in report.checks}
    assert said["anchor"].startswith("head 4 of 4 on the ledger, block ")
    assert said["complete"] == "run:3: all 9 entries"
    size, root = site.anchor.anchored()
    assert (size, root) == (4, site.log.heads.root_at(4))  # ticks, not entries
    with pytest.raises(ContractRefused):
        network.hospitals[0].anchor(size=6, root=bytes([7]) * 32, proof=[bytes(32)])
    assert site.anchor.anchored() == (size, root)
    site.close()

    rolled_back = tmp_path / "restored"
    rolled_back.mkdir()
    again = Site(rolled_back, network)
    with pytest.raises(LedgerError) as refusal:
        again.log.tick(again.anchor)
    assert refusal.value.code == "TW3612"
    again.close()
