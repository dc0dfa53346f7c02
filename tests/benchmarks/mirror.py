"""Cold sync of a mirror from our own node, beside web3.py's own path and the raw transport.

python tests/benchmarks/mirror.py [--patients 1000000] [--json]

The chain is written straight into the node's store: blocks are mined empty, events are added as
rows. Everything a mirror does with them is real but the last comparison with the contract's slot.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eth_account import Account
from web3 import Web3

from ledger.consents import CHANGED
from ledger.deployed import artifact
from ledger.mirror import Mirror
from ledger.rpc import Rpc
from tests.benchmarks.ledger_node import transfers
from tests.simulators.ledger.network import LedgerNetwork, RunningNode

ROOT = Path(__file__).resolve().parents[2]
A_BLOCK = 1_000
SAMPLE = 5_000


def filled(folder, patients):
    """A chain with this many grants; returns its genesis hash and the contract's address."""
    running = RunningNode(folder)
    network = LedgerNetwork(running.url, genesis=running.genesis.hash())
    network.close()
    engine, contract = running.engine, network.consent
    first = engine.head.block_number + 1
    blocks = -(-patients // A_BLOCK)
    rpc = Rpc(running.url, timeout=60)
    for raw in transfers(Account.create(), 0, blocks):
        rpc.call("eth_sendRawTransaction", raw)
    rpc.close()
    study, slots = b"\x5d" * 32, (1 << 128 | 1_800_000_000 << 64 | 1 << 32 | 2 << 16 | 1)

    def rows():
        for n in range(patients):
            subject = bytes(12) + n.to_bytes(20, "big")
            data = (n + 1).to_bytes(32, "big") + slots.to_bytes(32, "big")
            yield (
                first + n // A_BLOCK, n % A_BLOCK, os.urandom(32), 0, contract,
                CHANGED, study, subject, os.urandom(32), data,
            )  # fmt: skip

    with engine.store.block():
        engine.store._db.executemany(f"insert into logs values ({', '.join('?' * 10)})", rows())
    genesis = running.genesis.hash()
    running.stop()
    return genesis, contract


def served(folder):
    child = subprocess.Popen(
        [sys.executable, "-m", "ledger.embedded", "--dir", str(folder), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    return child, child.stdout.readline().split()[-1]


def web3_rate(url, contract, last):
    """Events a second by web3.py's own path, on a sample."""
    web3 = Web3(Web3.HTTPProvider(url))
    consent = web3.eth.contract(
        address=Web3.to_checksum_address(contract), abi=artifact("Consent").abi
    )
    began = time.perf_counter()
    found = consent.events.ConsentChanged().get_logs(
        from_block=last - SAMPLE // A_BLOCK + 1, to_block=last
    )
    return len(found) / (time.perf_counter() - began)


def raw_rate(url, contract, last):
    """Events a second of fetching alone, nothing decoded or kept: what the transport allows."""
    rpc = Rpc(url, timeout=60)
    wanted = {"address": f"0x{contract.hex()}", "fromBlock": hex(last - 9), "toBlock": hex(last)}
    began = time.perf_counter()
    found = rpc.call("eth_getLogs", wanted)
    rate = len(found) / (time.perf_counter() - began)
    rpc.close()
    return rate


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        genesis, contract = filled(folder, chosen.patients)
        child, url = served(folder)
        try:
            rpc = Rpc(url, timeout=60)
            mirror = Mirror(folder / "m.sqlite", rpc=rpc, genesis=genesis, contract=contract)
            began = time.perf_counter()
            last = mirror.sync()
            seconds = time.perf_counter() - began
            assert mirror.count == chosen.patients
            mirror.close()
            raw = raw_rate(url, contract, last)
            web3 = web3_rate(url, contract, last)
            rpc.close()
        finally:
            child.terminate()
            child.wait()
    rate = chosen.patients / seconds
    result = {
        "patients": chosen.patients,
        "cold_sync_seconds": round(seconds, 1),
        "goal_seconds": 60,
        "events_per_second": round(rate),
        "raw_transport_per_second": round(raw),
        "web3_per_second": round(web3),
        "times_web3": round(rate / web3, 1),
        "share_of_transport": round(rate / raw, 2),
        "load_average": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(result) if chosen.json else "\n".join(f"{k}: {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
