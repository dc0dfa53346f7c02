"""How fast the embedded ledger is, against the disk and the signature library it stands on.

python tests/benchmarks/ledger_node.py --json [--kills 100]
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import coincurve
import httpx
from eth_account import Account

from ledger.embedded.backup import backup
from ledger.embedded.check import check as check_rows
from ledger.embedded.engine import Engine
from ledger.embedded.genesis import Genesis
from ledger.embedded.store import Store
from ledger.mirror import Mirror
from ledger.rpc import Rpc
from tests.simulators.ledger.followers import Follower
from tests.simulators.ledger.network import (
    CHAIN_ID,
    START,
    LedgerNetwork,
    Patient,
    RunningNode,
)
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


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as status:
        (line,) = [line for line in status if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def started(folder, genesis):
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ledger.embedded", "--dir", str(folder), "--port", "0"),
            *("--genesis", str(genesis)),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline().split()[1]


def memory(folder, blocks):
    """Resident memory of a node after a quarter of the blocks and after all of them."""
    folder.mkdir()
    (folder / "genesis.json").write_bytes(Genesis(chain_id=CHAIN_ID, timestamp=START).to_json())
    process, url = started(folder / "node", folder / "genesis.json")
    account, seen = Account.create(), []
    with httpx.Client(trust_env=False, timeout=60) as client:
        for block in range(blocks):
            raws = transfers(account, 50 * block, 50)
            client.post(url, json=[call("eth_sendRawTransaction", raw) for raw in raws])
            if block + 1 in {blocks // 4, blocks}:
                seen.append(resident_mb(process.pid))
    process.terminate()
    process.wait(10)
    process.stdout.close()
    return seen


def kills(folder, count):
    """Kill -9 at random instants while many transactions are written; what was lost."""
    folder.mkdir()
    (folder / "genesis.json").write_bytes(Genesis(chain_id=CHAIN_ID, timestamp=START).to_json())
    luck, account, nonce, acknowledged, lost = random.Random(7), Account.create(), 0, [], 0
    slowest = 0.0
    for _ in range(count):
        process, url = started(folder / "node", folder / "genesis.json")
        with httpx.Client(trust_env=False, timeout=10) as client:
            for tx_hash in acknowledged:
                answer = client.post(url, json=call("eth_getTransactionReceipt", tx_hash)).json()
                lost += (answer["result"] or {}).get("status") != "0x1"
            counted = call("eth_getTransactionCount", account.address)
            nonce = int(client.post(url, json=counted).json()["result"], 16)
            acknowledged = []
            killer = threading.Timer(luck.uniform(0.02, 0.4), process.kill)
            killer.start()
            try:
                while True:
                    raws = list(transfers(account, nonce, luck.randint(1, 20)))
                    nonce += len(raws)
                    batch = [call("eth_sendRawTransaction", raw) for raw in raws]
                    answers = client.post(url, json=batch).json()
                    acknowledged += [answer["result"] for answer in answers]
            except (httpx.HTTPError, ValueError):
                pass
            killer.join()
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
        began = time.perf_counter()
        store = Store(folder / "node" / "chain.sqlite")
        Engine(store)
        slowest = max(slowest, 1000 * (time.perf_counter() - began))
        lost += sum(
            store.row("select 1 from transactions where hash = ?", (bytes.fromhex(one[2:]),))
            is None
            for one in acknowledged
        )
        store.close()
    assert not check_rows(folder / "node" / "chain.sqlite").faults
    return {"kills": count, "acknowledged_writes_lost": lost, "slowest_reopen_ms": slowest}


def followed(folder, running):
    """Transactions a second that a follower executes again, and witnesses' own costs."""
    follower = Follower(folder / "follower", running.url, genesis=running.genesis)
    began = time.perf_counter()
    follower.following.catch_up()
    seconds = time.perf_counter() - began
    (count,) = follower.engine.store.row("select count(*) from transactions")
    (consents,) = follower.engine.store.row("select count(*) from logs")
    assert follower.engine.head.hash == running.engine.head.hash
    follower.stop()
    return count / seconds, consents / seconds


def measure(folder, *, kill_count, memory_blocks):
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
    began, cpu = time.perf_counter(), time.process_time()
    results = network.hospitals[0].relay_grants(items)
    grants = len(items) / (time.perf_counter() - began)
    # Node and client together: what the machine could do if nobody else used it.
    grants_by_cpu = len(items) / (time.process_time() - cpu)
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
    follower_transactions, follower_events = followed(folder, running)
    began = time.perf_counter()
    backup(folder, folder / "backup.sqlite")
    saving = 1000 * (time.perf_counter() - began)
    began = time.perf_counter()
    found = check_rows(folder / "backup.sqlite")
    checked = found.rows / (time.perf_counter() - began)
    assert not found.faults
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
    quarter, end = memory(folder / "memory", memory_blocks)
    return {
        "fsync_ms": disk,
        "durable_transaction_p50_ms": single,
        "durable_transaction_over_fsync": single / disk,
        "transactions_per_second_in_blocks": per_second,
        "grants_per_second": grants,
        "grants_per_cpu_second": grants_by_cpu,
        "grant_over_one_signature_recovery": 1000 / grants / recovery,
        "mirror_events_per_second": events,
        "mirror_check_p50_ms": check,
        "mirror_point_lookup_ms": point,
        "web3_read_ms": read,
        "raw_read_ms": raw_read,
        "reopen_ms": reopen,
        "blocks": blocks,
        "database_bytes": size,
        "durable_transaction_minus_fsync_ms": single - disk,
        "follower_transactions_per_second": follower_transactions,
        "follower_events_per_second": follower_events,
        "backup_ms": saving,
        "check_rows_per_second": checked,
        "memory_blocks": memory_blocks,
        "memory_after_a_quarter_mb": quarter,
        "memory_after_all_mb": end,
        **kills(folder / "kills", kill_count),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--kills", type=int, default=5, help="kill -9 so often (5)")
    parser.add_argument("--memory-blocks", type=int, default=200, help="of 50 transactions (200)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), kill_count=chosen.kills, memory_blocks=chosen.memory_blocks)
    if chosen.json:
        print(json.dumps({"schema": "twinward/benchmark.ledger_node/v1", **figures}))
        return
    for name, value in figures.items():
        print(f"{name:40} {value:12.3f}")


if __name__ == "__main__":
    main()
