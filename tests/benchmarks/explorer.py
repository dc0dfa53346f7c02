"""Pages of the explorer over a large ledger: how long an auditor waits, against plain SQL.

    python tests/benchmarks/explorer.py [--patients 200000] [--json]

The history is made up, one change in ten a withdrawal, in blocks of a hundred. Each page is made
without network. `count` is SQLite's own time to walk the table of consents once, in the same file:
what no page that counts all of them can beat by much. `counted anew` is the first page after a
block; what it counted is kept until the next one.
"""

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ledger.explorer.pages import PAGES
from ledger.explorer.standing import Standing
from ledger.explorer.view import open_view
from ledger.history import History
from tests.simulators.explorer.world import HEART, START, World

ROUNDS = 11


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=200_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.patients)
    print(json.dumps(found) if options.json else as_text(found))


def measure(folder, patients):
    world = World(folder)
    path = grow(world, patients)
    papers, standing = papers_of(world), Standing(0, 0)
    with closing(History.reader(path)) as history:
        count = timed(lambda: history.db.execute(
            "select sum(length(slot)) from consent_consent_changed"
        ).fetchone())  # fmt: skip
    pages = {
        "timeline": ("/timeline", {}),
        "timeline of a subject": ("/timeline", {"about": world.subjects[HEART][0].hex()}),
        "subject": ("/subjects", {"subject": world.subjects[HEART][0].hex()}),
        "overview, counted anew": ("/overview", None),
        "overview": ("/overview", {}),
        "consents at a date": ("/consents", {"date": "2026-09-25"}),
        "study": ("/studies/{digest}", {"digest": world.studies[HEART][0].hex()}),
    }
    measured, kept = {}, {}
    for name, (address, words) in pages.items():

        def ask(address=address, words=words):
            keep = {} if words is None else kept
            with open_view(path, papers=papers, standing=standing, scope=None, kept=keep) as view:
                PAGES[address](view, words or {})

        measured[name] = timed(ask)
    return {
        "schema": "twinward/bench.explorer/v1",
        "patients": patients,
        "load": os.getloadavg()[0],
        "count_ms": count,
        "pages_ms": measured,
        "ratio_to_count": {k: round(v["p50"] / count["p50"], 2) for k, v in measured.items()},
    }


def papers_of(world):
    from ledger.explorer.papers import Shelf

    return Shelf(world.audited, world.founding).refresh()


def grow(world, patients):
    """The world's own history with many more patients behind it."""
    from ledger.deployed import Addresses
    from ledger.events import Event

    state = world.audited / "state" / "explorer"
    contracts = Addresses.from_json(world.founding.chain["contracts"])
    history = History.open(state / "history.sqlite", genesis=world.genesis, contracts=contracts)
    first = world.events[-1]
    study = world.studies[HEART][1]
    for start in range(0, patients, 10_000):
        events, blocks = [], {}
        for place in range(start, min(start + 10_000, patients)):
            number = first.number + 1 + place
            block = first.block + 1 + place // 100
            subject = hashlib.sha256(b"%d" % (place - place % 10)).digest()[:20] if (
                place % 10 == 9
            ) else hashlib.sha256(b"%d" % place).digest()[:20]  # fmt: skip
            granted = place % 10 != 9
            slot = (
                (4 << 128 | (START + 10**8) << 64 | 1 << 32 if granted else 2 << 32) | 2 << 16 | 1
            )
            values = {
                "study": study, "subject": subject, "digest": bytes(32), "sequence": number,
                "slot": slot,
            }  # fmt: skip
            transaction = hashlib.sha256(b"t%d" % block).digest()
            moment = first.time + block
            events.append(
                Event(number, block, place % 100, moment, transaction, "Consent",
                      "ConsentChanged", values)
            )  # fmt: skip
            blocks[block] = (block, hashlib.sha256(b"%d" % block).digest(), moment)
        history.add(events, blocks.values(), last=max(blocks))
    history.close()
    return state / "history.sqlite"


def timed(call):
    call()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1000)
    times.sort()
    return {"p50": round(statistics.median(times), 2), "p95": round(times[-2], 2)}


def as_text(found):
    lines = [
        f"{found['patients']:,} changes of consents, load {found['load']:.1f}",
        f"count    p50 {found['count_ms']['p50']:8.1f} ms",
    ]
    lines += [
        f"{name:22}  p50 {one['p50']:8.1f} ms  p95 {one['p95']:8.1f} ms  "
        f"{found['ratio_to_count'][name]:6.2f} x count"
        for name, one in found["pages_ms"].items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
