"""An audited network on disk: real signatures, a real evidence pack, events made up to order.

Two studies share four hospitals. ``heart-risk`` was approved, ran and gave a model; ``deep-sleep``
was approved by three. Patients grant, withdraw, let expire; staff attest some withdrawals.
"""

import hashlib
import json
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

from ledger.consents import BY_STAFF
from ledger.deployed import Addresses
from ledger.events import Event, form
from ledger.explorer.running import state_of
from ledger.history import History
from ledger.log import checkpoint
from ledger.log.network import NetworkLog
from ledger.log.store import Log
from ledger.questions.workspace import CHECKPOINTS
from server.model_card import CardTexts
from server.release import release
from tests.simulators.finished_run import HOSPITALS, NoLedger, finished_run
from twinward.ids import study_number
from twinward.signing import Document

START = 1_790_000_000
DAY = 86_400
MIDNIGHT = (START // DAY + 1) * DAY
STUDY, PLAN, MODEL = 1, 2, 5
ANCHORED = "AuditAnchor.Anchored"
HEART, SLEEP = "heart-risk", "deep-sleep"
TEXTS = CardTexts("Risk", "risk", "Research.", ("Not a medical device.",), "Chosen elsewhere.")


@dataclass
class World:
    """A folder that an explorer can show."""

    folder: Path
    patients: int = 12
    events: list = field(default_factory=list)

    def __post_init__(self):
        made = self.folder / "made"
        made.mkdir(parents=True)
        self.run = finished_run(made)
        self.founding = self.run.founding
        self.genesis = bytes.fromhex(self.founding.chain["genesis_hash"])
        self.audited = self.folder / "audited"
        self.audited.mkdir()
        (self.audited / "founding.json").write_bytes(self.founding.document.encode())
        self.random = random.Random(7)
        self.accounts = {
            str(member.org): bytes.fromhex(member.ledger_account[2:])
            for member in self.founding.members
        }
        self.release = release(
            self.audited / "releases" / self.run.run.hex()[:16],
            transcript=self.run.transcript,
            founding=self.founding,
            plan=self.run.plan_document,
            order=self.run.order,
            names=("age", "sex", "constant"),
            texts=TEXTS,
            identity=self.run.coordinator,
            ledger=NoLedger(),
        ).digest
        self.run.transcript.close()
        self.studies = {name: self.study(name) for name in (HEART, SLEEP)}
        folder = self.audited / "studies" / HEART
        (folder / "plan.json").write_bytes(self.run.plan_document.encode())
        self.heart_plan = self.run.plan_document.digest
        self.sleep_plan = hashlib.sha256(b"plan of deep-sleep").digest()
        self.subjects = {HEART: [], SLEEP: []}
        self.tell()
        self.write()

    # Documents

    def study(self, name):
        payload = {
            "categories": ["age and sex", "blood tests"],
            "closes": START + 400 * DAY,
            "commercial": False,
            "ethics": "",
            "genetic": False,
            "methods_only": False,
            "region": "",
            "name": name,
            "network": self.genesis.hex(),
            "purpose": "heart-research",
            "salt": hashlib.sha256(name.encode()).hexdigest(),
            "title": f"What is there to learn about {name.replace('-', ' ')}?",
        }
        if name == HEART:  # the other one was signed before categories could be left out
            payload["optional"] = {"blood tests": ["chol", "fbs"]}
        document = Document("twinward/study/v1", payload).signed_by(self.run.coordinator)
        folder = self.audited / "studies" / name
        folder.mkdir(parents=True)
        (folder / "study.json").write_bytes(document.encode())
        number = study_number(network=payload["network"], name=name, salt=payload["salt"])
        return document.digest, number

    # Events

    def say(self, event, /, *, days=0.0, **values):
        """One event in a block of its own; values that nobody gave are zero."""
        last = self.events[-1] if self.events else None
        time = max(int(START + days * DAY), last.time + 1 if last else START)
        contract, _, name = event.partition(".")
        types = form(event).types
        zero = {"address": bytes(20), "bytes32": bytes(32), "bytes32[]": ()}
        self.events.append(
            Event(
                number=len(self.events) + 1,
                block=len(self.events) + 1,
                position=0,
                time=time,
                transaction=hashlib.sha256(f"tx {len(self.events)}".encode()).digest(),
                contract=contract,
                name=name,
                values={one: values.get(one, zero.get(types[one], 0)) for one in types},
            )
        )

    def tell(self):
        """The story."""
        for number, member in enumerate(self.founding.members, 1):
            self.say(
                "Membership.Joined",
                id=bytes.fromhex(member.fingerprint),
                account=self.accounts[str(member.org)],
                role=2 if member.is_hospital else 1,
                number=number,
            )
        coordinator = self.accounts["coordinator"]
        for name, plan in ((HEART, self.heart_plan), (SLEEP, self.sleep_plan)):
            digest, _ = self.studies[name]
            self.say("Provenance.Recorded", digest=digest, kind=STUDY, by=coordinator)
            self.say(
                "Provenance.Recorded", digest=plan, kind=PLAN, by=coordinator, parents=(digest,)
            )
            for count, org in enumerate(HOSPITALS if name == HEART else HOSPITALS[:3], 1):
                self.say("Provenance.Approved", digest=plan, by=self.accounts[org], approvals=count)
            self.consents(name)
        for place, org in enumerate(HOSPITALS):
            self.say(
                "Provenance.Reserved",
                days=5,
                hospital=self.accounts[org],
                run=self.run.run,
                plan=self.heart_plan,
                microMu2=71_852,
                spent=71_852 + place,
            )
        self.say(
            "Provenance.Recorded",
            days=5,
            digest=self.release,
            kind=MODEL,
            by=coordinator,
            parents=(self.heart_plan,),
        )
        self.change(HEART, self.subjects[HEART][0], days=6, relay=2, nonce=2, flags=1)
        self.change(HEART, self.subjects[HEART][1], days=7, relay=3, nonce=2, flags=2)

        if form(ANCHORED) is not None:
            for place, days in enumerate((7.2, 7.6, 8.0), 1):
                self.say(ANCHORED, days=days, number=2, size=place * 10)

    def consents(self, name):
        for place in range(self.patients):
            subject = self.random.randbytes(20)
            self.subjects[name].append(subject)
            days = 1 + place / 10
            expiry = MIDNIGHT + (4 if place == 5 else 300) * DAY
            self.change(
                name,
                subject,
                days=days,
                relay=2 + place % 4,
                purposes=4 | (BY_STAFF if place % 5 == 3 else 0),
                expiry=expiry,
                flags=1,
            )

    def change(self, study, subject, *, days, relay, flags, purposes=0, expiry=0, nonce=1):
        slot = purposes << 128 | expiry << 64 | nonce << 32 | relay << 16 | flags
        sequence = sum(e.name == "ConsentChanged" for e in self.events) + 1
        self.say(
            "Consent.ConsentChanged",
            days=days,
            study=self.studies[study][1],
            subject=subject,
            digest=hashlib.sha256(subject + bytes([nonce])).digest() if flags == 1 else bytes(32),
            sequence=sequence,
            slot=slot,
        )

    # Files

    def write(self, *, to=None):
        """The explorer's copy of the ledger."""
        path = (to or state_of(self.audited)) / "history.sqlite"
        contracts = Addresses.from_json(self.founding.chain["contracts"])
        history = History.open(path, genesis=self.genesis, contracts=contracts)
        blocks = [(e.block, hashlib.sha256(b"%d" % e.block).digest(), e.time) for e in self.events]
        history.add(self.events, blocks, last=self.events[-1].block)
        history.close()
        return path

    def sign_checkpoint(self, *, witnesses=(), signer="coordinator", events=None):
        """What the coordinator and witnesses say of the log of these events."""
        path = self.folder / f"signed-{os.urandom(4).hex()}.sqlite"
        log = Log(path, origin=checkpoint.network_origin(self.genesis))
        told = self.events if events is None else events
        NetworkLog(log).extend(told)
        note = checkpoint.sign(
            checkpoint.checkpoint_of(log.origin, log.seal(), block=(told[-1].block, bytes(32))),
            self.run.identities[signer],
        )
        log.close()
        for org in witnesses:
            note = checkpoint.cosign(
                note, self.run.identities[org], name=checkpoint.witness_name(org), time=START
            )
        folder = self.audited / CHECKPOINTS
        folder.mkdir(exist_ok=True)
        (folder / f"{len(told)}-{path.stem[-8:]}").write_bytes(note.encode())

    def addresses(self):
        """Every page, as an auditor comes across them."""
        heart, _ = self.studies[HEART]
        return {
            "overview": "/overview",
            "verification": "/verification",
            "timeline": "/timeline",
            "event": "/events/9",
            "studies": "/studies",
            "study": f"/studies/{heart.hex()}",
            "models": "/models",
            "lineage": f"/lineage/{self.release.hex()}",
            "consents": "/consents",
            "subject": f"/subjects?subject={self.subjects[HEART][0].hex()}",
            "privacy": "/privacy",
            "gaps": "/gaps",
            "questions": "/questions",
            "question": "/questions/consents-at?date=2026-09-25",
            "wide": f"/questions/uses?subjects={self.subjects[HEART][0].hex()}",
            "no-source": "/questions/overrides",
        }


def as_form(path, form):
    """The address of the same page as JSON or CSV."""
    page, mark, query = path.partition("?")
    return f"{page}.{form}{mark}{query}"


def decoded(text):
    return json.loads(text)
