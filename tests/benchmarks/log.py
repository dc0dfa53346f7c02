"""A log with topics: append, seal, prove, beside what hashing and the disk alone would allow.

python tests/benchmarks/log.py [--entries 1000000] [--json]
"""

import argparse
import hashlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ledger import verify
from ledger.log.entry import Draft
from ledger.log.store import Log

GROUP = 5_000
PROOFS = 2_000


def drafts(count):
    """Like an organisation's: its kind, a study, and one of a tenth as many patients."""
    patients = random.Random(7)
    for n in range(count):
        topics = ("kind:decision", f"study:{n % 3}", f"patient:{patients.randrange(count // 10)}")
        yield Draft("decision", topics, 1_790_000_000 + n, hashlib.sha256(str(n).encode()).digest())


def timed(work, times, *, clock=time.perf_counter):
    """Milliseconds of each of so many calls, ascending."""
    taken = []
    for n in range(times):
        began = clock()
        work(n)
        taken.append(1000 * (clock() - began))
    return sorted(taken)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    count = chosen.entries
    hashes = [hashlib.sha256(n.to_bytes(8, "big")).digest() for n in range(count)]
    began = time.perf_counter()
    verify.tree_root(hashes)
    root_seconds = time.perf_counter() - began
    began = time.perf_counter()
    for value in hashes:
        hashlib.sha256(value + value)
    hash_seconds = time.perf_counter() - began
    del hashes
    with tempfile.TemporaryDirectory() as name:
        log = Log(Path(name) / "log.sqlite", origin="twinward/bench")
        wanted = list(drafts(count))
        began, busy = time.perf_counter(), time.process_time()
        for start in range(0, count, GROUP):
            log.append(wanted[start : start + GROUP])
        append_seconds, append_busy = time.perf_counter() - began, time.process_time() - busy
        began = time.perf_counter()
        size = log.seal().size
        seal_seconds = time.perf_counter() - began
        pick = random.Random(9)
        inclusion = timed(lambda _: log.inclusion(pick.randrange(size), size=size), PROOFS)
        busy_proof = timed(
            lambda _: log.inclusion(pick.randrange(size), size=size),
            PROOFS,
            clock=time.thread_time,
        )
        topic = timed(
            lambda _: log.topic(f"patient:{pick.randrange(count // 10)}", size=size), PROOFS
        )
        consistency = timed(lambda _: log.consistency(pick.randrange(1, size), size), PROOFS)
        index = pick.randrange(size)
        path, leaf = log.inclusion(index, size=size), verify.leaf_hash(log.leaf(index))
        checking = timed(lambda _: verify.root_from_inclusion(leaf, index, size, path), PROOFS)
        one = timed(lambda n: log.append(wanted[n : n + 1]), 100)
        resealing = timed(lambda n: (log.append(wanted[n : n + 1]), log.seal()), 30)
        with (Path(name) / "fsync").open("wb") as file:
            fsync = timed(
                lambda _: (file.write(os.urandom(4096)), file.flush(), os.fsync(file.fileno())), 100
            )
        log.close()
    late = int(PROOFS * 0.99)
    result = {
        "entries": count,
        "appends_per_second": round(count / append_seconds),
        "appends_per_cpu_second": round(count / append_busy),
        "goal_appends_per_second": 20_000,
        "share_of_hashing_alone": round(2 * hash_seconds / append_seconds, 3),
        "single_append_p50_ms": round(statistics.median(one), 2),
        "fsync_p50_ms": round(statistics.median(fsync), 2),
        "first_seal_seconds": round(seal_seconds, 2),
        "seal_after_one_p50_ms": round(statistics.median(resealing), 2),
        "root_from_leaves_seconds": round(root_seconds, 2),
        "goal_root_seconds": 2,
        "inclusion_p50_ms": round(statistics.median(inclusion), 3),
        "inclusion_p99_ms": round(inclusion[late], 3),
        "inclusion_cpu_p99_ms": round(busy_proof[late], 3),
        "consistency_p99_ms": round(consistency[late], 3),
        "topic_p99_ms": round(topic[late], 3),
        "goal_proof_p99_ms": 1,
        "check_inclusion_p50_ms": round(statistics.median(checking), 3),
        "load_average": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(result) if chosen.json else "\n".join(f"{k}: {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
