"""How long questions take over a large past, and how fast events are decoded and kept.

    python -m tests.benchmarks.questions [--consents 100000] [--json]

Decoding is set beside web3.py's own on the same logs, in the same run. CPU seconds of one process.
"""

import argparse
import json
import os
import random
import tempfile
import time
from pathlib import Path

from ledger.deployed import CONTRACTS, Addresses, artifact
from ledger.events import Decoder, form
from ledger.history import History
from ledger.log import checkpoint
from ledger.log.network import NetworkLog
from ledger.log.store import Log
from ledger.questions import sql
from ledger.questions.documents import Documents
from ledger.questions.library import ask
from ledger.questions.sources import Sources
from tests.simulators.ledger.story import GENESIS, Story, pseudonym

NUMBERS = ("blockNumber", "logIndex", "transactionIndex")
ADDRESSES = Addresses(*(f"0x{n:040x}" for n in range(1, len(CONTRACTS) + 1)))


def told(consents):
    """A past with so many grants in four hospitals' two studies, a tenth withdrawn, twenty runs."""
    rng, story = random.Random(1), Story()
    studies = [story.study(), story.study("lungs", salt="1b" * 32)]
    plans = [study.plan() for study in studies]
    for turn in range(consents):
        study = rng.choice(studies)
        if turn % (consents // 20) == 0:
            place = rng.randrange(2)
            studies[place].run(plans[place])
            studies[place].release(plans[place])
        block = story.events[-1].block + (turn % 100 == 0)
        story.time += turn % 100 == 0
        hospital = story.hospitals[turn % 3]
        consent(story, study, f"p{turn}", hospital, block=block)
        if turn % 10 == 9:
            consent(story, study, f"p{turn}", hospital, block=block, purposes=0)
    return story


def consent(story, study, patient, hospital, *, block, purposes=5):
    """As `Story.consent`, many to a block."""
    story.sequence += 1
    number = 2 + story.hospitals.index(hospital)
    expiry = (story.time // 86_400 + 400) * 86_400 if purposes else 0
    story.tell(
        "Consent.ConsentChanged", block=block, study=study.number, subject=pseudonym(patient),
        digest=os.urandom(32), sequence=story.sequence,
        slot=purposes << 128 | expiry << 64 | 1 << 32 | number << 16 | 1,
    )  # fmt: skip


def cpu(work):
    """Result and CPU seconds."""
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


def logs_of(events):
    """The same events as a node tells them."""
    consents = form("Consent.ConsentChanged")
    return [
        {
            "address": ADDRESSES.consent,
            "topics": [
                "0x" + part.hex()
                for part in (
                    consents.topic,
                    event.values["study"],
                    event.values["subject"].rjust(32, b"\0"),
                    event.values["digest"],
                )
            ],
            "data": f"0x{event.values['sequence']:064x}{event.values['slot']:064x}",
            "blockNumber": hex(event.block),
            "logIndex": hex(event.position),
            "blockHash": "0x" + "00" * 32,
            "transactionHash": "0x" + event.transaction.hex(),
            "transactionIndex": "0x0",
        }
        for event in events
        if event.kind == consents.kind
    ]


def decoding(events):
    """Events a second by hand, and by web3.py on a sample."""
    from web3 import Web3

    logs = logs_of(events)
    decoder = Decoder(ADDRESSES)
    _, own = cpu(lambda: [decoder.read(log) for log in logs])
    sample = [
        {
            **log,
            "topics": [bytes.fromhex(topic[2:]) for topic in log["topics"]],
            "data": bytes.fromhex(log["data"][2:]),
            **{
                name: int(log[name], 16) for name in ("blockNumber", "logIndex", "transactionIndex")
            },
        }
        for log in logs[:2_000]
    ]
    contract = Web3().eth.contract(abi=artifact("Consent").abi)
    changed = contract.events.ConsentChanged()
    _, theirs = cpu(lambda: [changed.process_log(log) for log in sample])
    return {"own": len(logs) / own, "web3": len(sample) / theirs}


def measured(consents):
    """All figures."""
    story = told(consents)
    events = story.events
    figures = {"events": len(events), "decoded_per_second": decoding(events)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite"
        history = History.open(path, genesis=GENESIS, contracts=ADDRESSES)
        blocks = {event.block: (event.block, bytes(32), event.time) for event in events}
        _, kept = cpu(lambda: history.add(events, blocks.values(), last=events[-1].block))
        figures["kept_per_second"] = len(events) / kept
        log = Log(Path(folder) / "log.sqlite", origin=checkpoint.network_origin(GENESIS))
        _, logged = cpu(lambda: (NetworkLog(log).extend(history.events()), log.seal()))
        figures["logged_per_second"] = len(events) / logged
        log.close()
        model = [e for e in events if e.values.get("kind") == 5][-1].values["digest"].hex()
        asked = {
            "uses": {"subjects": pseudonym("p17").hex()},
            "consents-at": {"date": "2026-09-21T00:30"},
            "consents-of-model": {"model": model},
            "staff-attested": {},
            "runs-without-approval": {},
            "privacy-spend": {},
            "separation-of-duties": {},
        }
        figures["seconds"] = {}
        for name, given in asked.items():
            reader = History.reader(path)
            sources = Sources(reader, documents=Documents.of(story.documents))
            answer, took = cpu(lambda n=name, g=given, s=sources: ask(n, g, sources=s))
            assert answer.status == "answered", answer.missing
            figures["seconds"][name] = round(took, 4)
            reader.close()
        query = "select member, count(*) from v_consents group by member"
        _, took = cpu(lambda: sql.run(path, query, seconds=120))
        figures["seconds"]["sql over all consents"] = round(took, 4)
        history.close()
    return figures


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consents", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measured(options.consents)
    found["load"] = os.getloadavg()[0]
    ratio = found["decoded_per_second"]["own"] / found["decoded_per_second"]["web3"]
    found["decoded_as_fast_as_web3"] = round(ratio, 1)
    if options.json:
        print(json.dumps({"benchmark": "questions", **found}))
        return
    print(f"{found['events']:,} events; load {found['load']:.1f}")
    for name in ("kept_per_second", "logged_per_second"):
        print(f"{name:28} {found[name]:12,.0f}")
    print(f"{'decoded_per_second':28} {found['decoded_per_second']['own']:12,.0f}, "
          f"web3.py {found['decoded_per_second']['web3']:,.0f}: {ratio:.0f} times")  # fmt: skip
    for name, seconds in found["seconds"].items():
        print(f"{name:28} {seconds:12.3f} s")


if __name__ == "__main__":
    main()
