"""The embedded node against another Ethereum implementation: same roots, gas, events, answers."""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

import ledger.contracts
from ledger.account import new_key
from ledger.calls import ContractRefused
from ledger.chain import Kind
from ledger.mirror import Mirror
from ledger.rpc import Rpc
from tests.simulators.ledger.network import CHAIN_ID, START, LedgerNetwork, Patient
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


def test_the_same_transactions_give_the_same_state_gas_and_events(node, anvil, monkeypatch):
    genesis, keys = node.genesis.hash(), [new_key() for _ in range(4)]
    # Both chains are told the same genesis, so that the same signatures count on both.
    monkeypatch.setattr("ledger.chain.Chain.genesis", lambda chain: genesis)
    ours, patients = Rpc(node.url), [(new_key(), os.urandom(32)) for _ in range(6)]
    networks = [LedgerNetwork(rpc.url, genesis=genesis, keys=keys) for rpc in (ours, anvil)]
    spends = [busy(network, patients, random.Random(3)) for network in networks]
    assert spends[0] == spends[1]
    assert receipts(ours) == receipts(anvil)
    for address in networks[0].contracts:
        proofs = [
            rpc.call("eth_getProof", address, ["0x" + "00" * 32], "latest") for rpc in (ours, anvil)
        ]
        assert proofs[0]["codeHash"] == proofs[1]["codeHash"]
        if address != networks[0].contracts.provenance:  # holds block times
            assert proofs[0]["storageHash"] == proofs[1]["storageHash"]
            assert proofs[0]["storageProof"][0]["proof"] == proofs[1]["storageProof"][0]["proof"]
    for network in networks:
        network.close()
    ours.close()


def busy(network, patients, luck):
    """A random but repeatable day on the ledger."""
    subjects = [Patient(network, study=study, key=key) for key, study in patients]
    plan = bytes([9]) * 32
    network.coordinator.record(plan, Kind.PLAN)
    for step in range(25):
        patient, hospital = luck.choice(subjects), luck.choice(network.hospitals)
        nonce = network.coordinator.consent(patient.study, patient.subject).nonce
        actions = [
            lambda p=patient, h=hospital, n=nonce: h.relay_grants(
                [p.signed_grant(nonce=n), p.signed_grant(nonce=n + 7)]
            ),
            lambda p=patient, n=nonce: network.coordinator.relay_withdrawal(
                *p.signed_withdrawal(nonce=n)
            ),
            lambda p=patient, h=hospital: h.attest_withdrawal(p.study, p.subject),
            lambda h=hospital, s=step: h.reserve(bytes([s + 1]) * 32, plan=plan, micro_mu2=s + 1),
            lambda h=hospital: h.raise_fence(),
        ]
        # Some attestations have nothing to attest; both chains refuse the same ones.
        with contextlib.suppress(ContractRefused):
            luck.choice(actions)()
    return [network.coordinator.spent_by(hospital.account) for hospital in network.hospitals]


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
