"""How fast the embedded ledger is, against the disk and the signature library it stands on.

python tests/benchmarks/ledger_node.py --json
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import coincurve
import httpx
from eth_account import Account

from ledger.embedded.engine import Engine
from ledger.embedded.store import Store
from ledger.mirror import Mirror
from ledger.rpc import Rpc
from tests.simulators.ledger.network import CHAIN_ID, LedgerNetwork, Patient, RunningNode
from twinward.signing import Identity


def median_ms(work, times):
    taken = []
    for n in range(times):
        began = time.perf_counter()
        work(n)
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def fsync_ms(folder):
    with (folder / "fsync").open("wb") as file:

        def write(_):
            file.write(os.urandom(4096))
            file.flush()
            os.fsync(file.fileno())

        return median_ms(write, 50)


def recover_ms():
    key, digest = coincurve.PrivateKey(), os.urandom(32)
    signature = key.sign_recoverable(digest, hasher=None)
    return median_ms(
        lambda _: coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None),
        200,
    )


def transfers(account, first, count):
    for nonce in range(first, first + count):
        values = {"type": 2, "chainId": CHAIN_ID, "nonce": nonce, "gas": 30_000, "value": 0}
        values |= {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0, "to": "0x" + "11" * 20}
        yield f"0x{account.sign_transaction(values).raw_transaction.hex()}"


def call(method, *params):
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}


def measure(folder):
    running = RunningNode(folder)
    network = LedgerNetwork(running.url, genesis=running.genesis.hash())
    client, rpc, account = (
        httpx.Client(trust_env=False, timeout=60),
        Rpc(running.url),
        Account.create(),
    )
    raws = list(transfers(account, 0, 60))
    single = median_ms(
        lambda n: client.post(running.url, json=call("eth_sendRawTransaction", raws[n])), 60
    )
    batch = [call("eth_sendRawTransaction", raw) for raw in transfers(account, 60, 200)]
    began = time.perf_counter()
    client.post(running.url, json=batch)
    per_second = len(batch) / (time.perf_counter() - began)
    patients = [Patient(network) for _ in range(500)]
    items = [patient.signed_grant() for patient in patients]
    began = time.perf_counter()
    results = network.hospitals[0].relay_grants(items)
    grants = len(items) / (time.perf_counter() - began)
    assert all(why is None for _, why in results)
    mirror = Mirror(folder / "m.sqlite", rpc=rpc, genesis=network.genesis, contract=network.consent)
    began = time.perf_counter()
    mirror.sync()
    events = len(items) / (time.perf_counter() - began)
    signer = Identity.generate()
    tip = network.coordinator.tip().statement(genesis=network.genesis, now=1.0).signed_by(signer)
    check = median_ms(
        lambda _: mirror.check(tip, signer=signer.public, now=1.0, max_age_seconds=1.0), 50
    )
    subject = patients[7]
    point = median_ms(lambda _: mirror.slot(subject.study, subject.subject), 500)
    read = median_ms(lambda _: network.coordinator.consent_head(), 100)
    raw_read = median_ms(
        lambda _: rpc.call("eth_call", {"to": network.contracts.consent, "data": "0x8f7dcfa3"}), 100
    )
    mirror.close()
    network.close()
    client.close()
    rpc.close()
    running.stop()
    size = (folder / "chain.sqlite").stat().st_size
    began = time.perf_counter()
    store = Store(folder / "chain.sqlite")
    blocks = Engine(store).head.block_number
    reopen = 1000 * (time.perf_counter() - began)
    store.close()
    disk, recovery = fsync_ms(folder), recover_ms()
    return {
        "fsync_ms": disk,
        "durable_transaction_p50_ms": single,
        "durable_transaction_over_fsync": single / disk,
        "transactions_per_second_in_blocks": per_second,
        "grants_per_second": grants,
        "grant_over_one_signature_recovery": 1000 / grants / recovery,
        "mirror_events_per_second": events,
        "mirror_check_p50_ms": check,
        "mirror_point_lookup_ms": point,
        "web3_read_ms": read,
        "raw_read_ms": raw_read,
        "reopen_ms": reopen,
        "blocks": blocks,
        "database_bytes": size,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder))
    if chosen.json:
        print(json.dumps({"schema": "twinward/benchmark.ledger_node/v1", **figures}))
        return
    for name, value in figures.items():
        print(f"{name:40} {value:12.3f}")


if __name__ == "__main__":
    main()
