"""The embedded node through Ethereum clients that we did not write: ethers and cast.

web3.py has its test in `test_embedded_node.py`. Without Node, or before `npm ci` in
``tests/simulators/ledger/clients``, these are skipped.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from eth_account import Account

import tests.simulators.ledger.network as simulator
from ledger import proofs
from ledger.account import address_of, new_key
from ledger.rpc import Rpc
from tests.simulators.ledger.network import CHAIN_ID, Patient

CLIENTS = Path(simulator.__file__).parent / "clients"
ARTIFACT = Path(proofs.__file__).parent / "contracts" / "artifacts" / "Membership.json"

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENTS / "node_modules").is_dir(),
    reason="ethers and cast are not installed; run `npm ci` in tests/simulators/ledger/clients",
)


def run(*words):
    done = subprocess.run(words, cwd=CLIENTS, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cast(*words, url):
    program = CLIENTS / "node_modules" / ".bin" / "cast"
    return run(str(program), *words, "--rpc-url", url).strip()


def test_ethers_deploys_filters_logs_proves_and_is_refused_by_name(node):
    members = [
        ["0x" + f"{n:02x}" * 32, address_of(new_key()), "0x" + "07" * 32, 2] for n in (1, 2, 3)
    ]
    seen = json.loads(
        run(
            *("node", "ethers.mjs", node.url, str(ARTIFACT), f"0x{new_key().hex()}"),
            json.dumps(members),
        )
    )
    assert seen["status"] == 1
    assert len(seen["numbers"]) == seen["filtered"] == 3
    assert seen["codeFits"]
    assert seen["proofNodes"] >= 1
    assert seen["refused"] not in {None, "CALL_EXCEPTION"}  # the contract's own error, decoded
    assert seen["chainId"] == CHAIN_ID
    assert seen["blockHolds"]
    assert seen["nonce"] == 1


def test_cast_reads_blocks_storage_logs_and_proofs(node, network):
    network.hospitals[0].relay_grants([Patient(network).signed_grant()])
    rpc, consent = Rpc(node.url), network.contracts.consent
    head = rpc.call("eth_getBlockByNumber", "latest", False)
    assert cast("chain-id", url=node.url) == str(CHAIN_ID)
    assert cast("block-number", url=node.url) == str(int(head["number"], 16))
    block = json.loads(cast("block", "latest", "--json", url=node.url))
    assert (block["hash"], block["stateRoot"]) == (head["hash"], head["stateRoot"])
    assert len(cast("code", consent, url=node.url)) > 1_000
    logs = json.loads(
        cast("logs", "--from-block", "0", "--address", consent, "--json", url=node.url)
    )
    assert [log["topics"] for log in logs] == [
        log["topics"] for log in rpc.call("eth_getLogs", {"address": consent, "fromBlock": "0x0"})
    ]
    proof = json.loads(cast("proof", consent, "0x1", url=node.url))
    word = proofs.storage_value(
        proofs.header_rlp(head),
        expected_hash=bytes.fromhex(head["hash"][2:]),
        proof=proof,
        address=bytes.fromhex(consent[2:]),
        slot=1,
    )
    assert int(cast("storage", consent, "1", url=node.url), 16) == word
    rpc.close()


def test_cast_computes_the_hash_of_a_block_as_we_do(node, network):
    """From all its fields, so each is where Ethereum wants it."""
    network.hospitals[0].raise_fence()
    header = json.loads(cast("block", "latest", "--json", url=node.url))
    assert proofs.open_header(
        proofs.header_rlp(header), expected_hash=bytes.fromhex(header["hash"][2:])
    ).number == int(str(header["number"]), 16)


def test_cast_sends_a_transaction_and_reads_its_receipt(node):
    key, target = new_key(), Account.create().address
    sent = json.loads(
        cast(
            *("send", target, "--value", "0", "--private-key", f"0x{key.hex()}"),
            *("--gas-price", "0", "--priority-gas-price", "0", "--json"),
            url=node.url,
        )
    )
    assert sent["status"] == "0x1"
    again = json.loads(cast("receipt", sent["transactionHash"], "--json", url=node.url))
    assert again["blockHash"] == sent["blockHash"]
    assert cast("nonce", address_of(key), url=node.url) == "1"
