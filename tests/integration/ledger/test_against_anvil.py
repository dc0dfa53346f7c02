"""The embedded node against another Ethereum implementation: same roots, gas, events, answers."""

import gzip
import json
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import rlp
from eth_hash.auto import keccak
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from trie import HexaryTrie

import ledger.contracts
from ledger.account import address_of, new_key
from ledger.calls import ContractRefused
from ledger.chain import Kind, LedgerMember, Role
from ledger.mirror import Mirror
from ledger.rpc import Rpc
from tests.simulators.ledger import merkle
from tests.simulators.ledger.network import (
    CHAIN_ID,
    START,
    LedgerNetwork,
    Patient,
    RunningNode,
)
from twinward.clock import FixedClock
from twinward.errors import LedgerUnreachable
from twinward.signing import Identity

ANVIL = Path(ledger.contracts.__file__).parent / "node_modules" / ".bin" / "anvil"


@pytest.fixture
def anvil():
    if shutil.which("node") is None or not ANVIL.exists():
        pytest.skip("anvil is not installed; run `npm ci` in ledger/contracts")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            *(str(ANVIL), "--silent", "--port", str(port), "--chain-id", str(CHAIN_ID)),
            *("--hardfork", "cancun", "--base-fee", "0", "--gas-price", "0"),
            *("--timestamp", str(START), "--accounts", "0"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    rpc = Rpc(f"http://127.0.0.1:{port}")
    for _ in range(200):
        try:
            rpc.call("eth_chainId")
            break
        except LedgerUnreachable:
            time.sleep(0.05)
    yield rpc
    rpc.close()
    process.terminate()
    process.wait(10)


def receipts(rpc):
    """Everything of every receipt that does not name a block by its hash."""
    found = []
    for number in range(1, int(rpc.call("eth_blockNumber"), 16) + 1):
        block = rpc.call("eth_getBlockByNumber", hex(number), False)
        for tx_hash in block["transactions"]:
            receipt = rpc.call("eth_getTransactionReceipt", tx_hash)
            keys = ("transactionHash", "status", "gasUsed", "contractAddress", "logsBloom")
            logs = [(log["address"], log["topics"], log["data"]) for log in receipt["logs"]]
            found.append((*(receipt[key] for key in keys), logs))
    return found


@pytest.fixture
def twins(tmp_path, anvil, monkeypatch):
    """The same members on the embedded node and on anvil, whose blocks come at the same times."""
    running = RunningNode(tmp_path, clock=FixedClock(START))
    genesis, keys = running.genesis.hash(), [new_key() for _ in range(5)]
    # Both chains are told the same genesis, so that the same signatures count on both.
    monkeypatch.setattr("ledger.chain.Chain.genesis", lambda chain: genesis)
    anvil.call("anvil_setBlockTimestampInterval", 1)
    ours = Rpc(running.url)
    networks = [LedgerNetwork(rpc.url, genesis=genesis, keys=keys) for rpc in (ours, anvil)]
    yield Twins(running, (ours, anvil), networks)
    for network in networks:
        network.close()
    ours.close()
    running.stop()


@dataclass
class Twins:
    running: RunningNode
    rpcs: tuple
    networks: list
    log: list = field(default_factory=list)
    records: list = field(default_factory=lambda: [os.urandom(32)])

    def __post_init__(self):
        self.patients = [(new_key(), os.urandom(32)) for _ in range(3)]
        self.outsider = LedgerMember(
            os.urandom(32), address_of(new_key()), os.urandom(32), Role.HOSPITAL
        )
        self.signed = []
        for network in self.networks:
            network.coordinator.record(self.records[0], Kind.PLAN, quorum=2)

    def act(self, action, who, other, amount):
        """The same on both; what it came to must be the same: events, or the refusal."""
        if action == "wait":
            time = self.networks[0].coordinator.tip().time + (amount + 1) * 86_400
            self.running.clock.at = time
            self.rpcs[1].call("evm_setNextBlockTimestamp", time)
            action = "raiseFence"  # a block at that time
        network, chain = self.networks[0], (who or 0) % 4
        patient = Patient(network, study=self.patients[other][1], key=self.patients[other][0])
        nonce = network.coordinator.consent(patient.study, patient.subject).nonce
        contract, function, arguments = self.call(action, other, amount, patient, nonce)
        results = []
        for twin in self.networks:
            sender = twin.coordinator if who is None else twin.hospitals[chain]
            try:
                results.append(sender.write(contract, function, *arguments))
            except ContractRefused as refusal:
                results.append(str(refusal))
        assert results[0] == results[1], action

    def call(self, action, other, amount, patient, nonce):
        plan, run = self.records[amount % len(self.records)], bytes([amount + 1]) * 32
        item = (os.urandom(32), amount % 7, amount % 3, [plan])
        if action == "record" and item[1] and (item[2] > 0) == (item[1] in {1, 2}):
            self.records.append(item[0])
        members = self.networks[0].members
        if action == "anchorBatch":
            self.signed = [patient.signed_grant(nonce=nonce + n) for n in range(amount % 4 + 1)]
            self.leaves = [
                merkle.leaf_hash(patient.digest(grant) + signature)
                for grant, signature in self.signed
            ]
        if action == "prove" and not self.signed:
            action = "withdraw"
        if action == "anchor":
            if amount % 3 == 0 and self.log:  # another history than before
                self.log[0] = os.urandom(32)
            self.log += [os.urandom(32) for _ in range(amount % 4)]
        size = min(amount % 5, len(self.log))
        wild = [patient.signed_grant(nonce=nonce), patient.signed_grant(nonce=nonce + 7)]
        return {
            "grantBatch": lambda: ("Consent", "grantBatch", [*map(list, zip(*wild, strict=True))]),
            "withdraw": lambda: (
                *("Consent", "withdraw"),
                patient.signed_withdrawal(nonce=max(0, nonce + amount % 3 - 1)),
            ),
            "attest": lambda: ("Consent", "attestWithdrawal", (patient.study, patient.subject)),
            "anchorBatch": lambda: (
                *("Consent", "anchorBatch"),
                (merkle.root(self.leaves), len(self.leaves)),
            ),
            "prove": lambda: self.proof(other + 1, amount % len(self.signed)),
            "record": lambda: ("Provenance", "record", (item,)),
            "recordBatch": lambda: (
                *("Provenance", "recordBatch"),
                ([item, (plan, 5, 0, []), (os.urandom(32), 5, 0, [item[0]])],),
            ),
            "approve": lambda: ("Provenance", "approve", (plan,)),
            "stateCap": lambda: ("Provenance", "stateCap", (amount * 10,)),
            "reserve": lambda: ("Provenance", "reserve", ((run, plan, amount),)),
            "reserveBatch": lambda: (
                *("Provenance", "reserveBatch"),
                ([(run, plan, 1), (run, plan, 2), (bytes(32), plan, 1)],),
            ),
            "raiseFence": lambda: ("Provenance", "raiseFence", ()),
            "suspend": lambda: ("Membership", "suspend", (members[other].id,)),
            "reinstate": lambda: ("Membership", "reinstate", (members[other].id,)),
            "endorse": lambda: ("Membership", "endorse", (self.outsider.as_tuple(),)),
            "anchor": lambda: (
                *("AuditAnchor", "anchor"),
                (
                    len(self.log),
                    merkle.root(self.log) if self.log else bytes(32),
                    merkle.consistency(size, self.log) if size else [],
                ),
            ),
        }[action]()

    def proof(self, relay, index):
        place = (
            *(relay, merkle.root(self.leaves), index),
            merkle.inclusion(index, self.leaves),
        )
        return "Consent", "prove", (place, *self.signed[index])


ACTIONS = [
    *("grantBatch", "withdraw", "attest", "anchorBatch", "prove"),
    *("record", "recordBatch", "approve", "stateCap", "reserve", "reserveBatch", "raiseFence"),
    *("suspend", "reinstate", "endorse", "anchor", "wait"),
]


@settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(ACTIONS),
            st.none() | st.integers(0, 3),
            st.integers(0, 2),
            st.integers(0, 60),
        ),
        min_size=40,
        max_size=40,
    )
)
def test_the_same_transactions_give_the_same_state_gas_and_events(twins, steps):
    for step in steps:
        twins.act(*step)
    ours, anvil = twins.rpcs
    for one, two in zip(receipts(ours), receipts(anvil), strict=True):
        assert one == two
    accounts = json.loads(gzip.decompress(bytes.fromhex(anvil.call("anvil_dumpState")[2:])))
    for address in twins.networks[0].contracts:
        proofs = [
            rpc.call("eth_getProof", address, ["0x" + "00" * 32], "latest") for rpc in twins.rpcs
        ]
        assert proofs[0]["codeHash"] == proofs[1]["codeHash"]
        slots = accounts["accounts"][address]["storage"]
        assert proofs[0]["storageHash"] == "0x" + storage_root(slots).hex()


def storage_root(slots):
    """Root of a contract's storage; anvil's own also holds slots that were only ever read."""
    trie = HexaryTrie({})
    for slot, value in slots.items():
        if int(value, 16):
            trie[keccak(bytes.fromhex(slot[2:]))] = rlp.encode(int(value, 16))
    return trie.root_hash


def test_the_client_and_the_mirror_work_over_anvil(anvil, tmp_path):
    genesis = bytes.fromhex(anvil.call("eth_getBlockByNumber", "0x0", False)["hash"][2:])
    network = LedgerNetwork(anvil.url, genesis=genesis, hospitals=3)
    patients = [Patient(network) for _ in range(5)]
    items = [patient.signed_grant() for patient in patients]
    assert [why for _, why in network.hospitals[0].relay_grants(items)] == [None] * 5
    network.coordinator.relay_withdrawal(*patients[0].signed_withdrawal())
    mirror = Mirror(
        tmp_path / "mirror.sqlite", rpc=anvil, genesis=genesis, contract=network.consent
    )
    signer = Identity.generate()
    tip = network.coordinator.tip().statement(genesis=genesis, now=5.0).signed_by(signer)
    mirror.check(tip, signer=signer.public, now=6.0, max_age_seconds=2.0)
    assert mirror.slot(patients[0].study, patients[0].subject).purposes == 0
    assert mirror.slot(patients[1].study, patients[1].subject).purposes == 5
    mirror.close()
    network.close()
