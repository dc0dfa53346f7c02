"""Offline verification of a whole log, of an answer from it and of a pack, by the one file alone.

python tests/benchmarks/verify_pack.py [--entries 100000] [--json]
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ledger import verify
from ledger.log.entry import Draft, commit
from tests.simulators.ledger.logbook import Logbook


def write(book, count):
    """Entries with three topics and a body each, as a hospital's log has them."""
    drafts = []
    for n in range(count):
        body = json.dumps({"resourceType": "AuditEvent", "n": n, "text": "x" * 200}).encode()
        salt = hashlib.sha256(n.to_bytes(8, "big")).digest()
        book.bodies[n] = (salt, body)
        topics = ("kind:use", f"study:{n % 3}", f"patient:{n * 7919 % (count // 10)}")
        drafts.append(Draft("use", topics, 1_790_000_000 + n, commit(body, salt=salt)))
    for start in range(0, count, 5_000):
        book.log.append(drafts[start : start + 5_000])


def seconds_of(path, data, *options):
    """Wall time of the verifier as an auditor runs it: a fresh Python without site packages."""
    path.write_bytes(data)
    program = [sys.executable, "-I", "-S", str(Path(verify.__file__)), str(path), "--json"]
    began = time.perf_counter()
    done = subprocess.run([*program, *options], capture_output=True, text=True)
    taken = time.perf_counter() - began
    assert done.returncode == 0, done.stdout[-2000:]
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        book = Logbook(folder)
        write(book, chosen.entries)
        note = book.cosigned(book.signed(), "south", "east")
        whole = book.answer(note=note)
        one = book.answer("patient:5", note=note)
        third = book.answer("study:1", note=note)
        path = folder / "answer.zip"
        began = time.perf_counter()
        hashlib.sha256(whole).digest()
        hashing = time.perf_counter() - began
        result = {
            "entries": chosen.entries,
            "whole_log_seconds": round(seconds_of(path, whole), 2),
            "goal_seconds": 5,
            "whole_log_megabytes": round(len(whole) / 1e6, 1),
            "hashing_the_file_seconds": round(hashing, 3),
            "a_third_of_it_seconds": round(seconds_of(path, third), 2),
            "one_patient_seconds": round(seconds_of(path, one), 2),
            "one_patient_kilobytes": round(len(one) / 1e3, 1),
            "load_average": round(os.getloadavg()[0], 1),
        }
        book.log.close()
    print(json.dumps(result) if chosen.json else "\n".join(f"{k}: {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
