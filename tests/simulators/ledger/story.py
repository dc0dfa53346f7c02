"""A made-up past of a network as events, to ask questions of; no ledger needed.

The story is told with `Story`; what it leaves are exactly the events that the contracts would.
"""

import hashlib
import os
from dataclasses import dataclass, field

from ledger.events import Event, form
from ledger.history import History
from ledger.provenance import Kind
from ledger.questions.documents import Documents
from ledger.questions.sources import Sources
from twinward.founding import Founding
from twinward.ids import study_number
from twinward.plan import evaluation_run
from twinward.signing import Document

GENESIS = b"\x6e" * 32
DAY = 86_400
START = 1_790_000_000 // DAY * DAY
HOSPITALS = ("bern", "chur", "genf")


def account(name):
    return hashlib.sha256(name.encode()).digest()[:20]


def pseudonym(name):
    return hashlib.sha256(b"patient" + name.encode()).digest()[:20]


@dataclass
class Story:
    """Each act is one block, a minute after the last unless the clock is moved."""

    founding: Founding | None = None
    events: list = field(default_factory=list)
    documents: list = field(default_factory=list)
    time: int = START

    def __post_init__(self):
        self.nonces, self.sequence, self.spent = {}, 0, {}
        names = ("coordinator", *HOSPITALS)
        self.accounts = {name: account(name) for name in names}
        if self.founding is not None:
            names = tuple(str(one.org) for one in self.founding.members)
            self.accounts = {
                str(one.org): bytes.fromhex(one.ledger_account[2:]) for one in self.founding.members
            }
        self.hospitals = tuple(name for name in names if name != "coordinator")
        for number, name in enumerate(names, 1):
            self.tell(
                "Membership.Joined",
                id=self.identity(name),
                account=self.accounts[name],
                keys=hashlib.sha256(b"keys" + name.encode()).digest(),
                role=1 if name == "coordinator" else 2,
                number=number,
            )

    @property
    def genesis(self):
        known = self.founding.chain["genesis_hash"] if self.founding else None
        return bytes.fromhex(known) if known else GENESIS

    def identity(self, name):
        if self.founding is None:
            return hashlib.sha256(b"id" + name.encode()).digest()
        return bytes.fromhex(self.founding.member(name).fingerprint)

    def number(self, name):
        """The member's number."""
        (joined,) = [e for e in self.events if e.values.get("id") == self.identity(name)]
        return joined.values["number"]

    def tell(self, what, /, *, block=None, **values):
        """One event; returns it."""
        found = form(what)
        assert found is not None, what
        for name in set(found.names) - set(values):
            values[name] = 0  # a contract may have gained a value that no question asks for
        if block is None:
            self.time += 60
            block = self.events[-1].block + 1 if self.events else 1
        event = Event(
            len(self.events) + 1, block, 0, self.time, os.urandom(32), found.contract, found.name,
            {name: values[name] for name in found.names},
        )  # fmt: skip
        self.events.append(event)
        return event

    def study(self, name="heart", salt="5a" * 32, **more):
        payload = {
            "network": self.genesis.hex(),
            "name": name,
            "salt": salt,
            "title": "?",
            "purpose": "heart-research",
            "categories": ["age"],
            "closes": self.time,
        } | more
        document = Document("twinward/study/v1", payload)
        self.documents.append((f"{name}.json", document.encode()))
        self.record(document.digest, Kind.STUDY)
        number = study_number(network=payload["network"], name=name, salt=salt)
        return Study(self, name, document.digest, number)

    def record(self, digest, kind, parents=(), by="coordinator"):
        return self.tell(
            "Provenance.Recorded", digest=digest, kind=int(kind), by=self.accounts[by],
            parents=tuple(parents),
        )  # fmt: skip

    def approve(self, digest, by):
        return self.tell("Provenance.Approved", digest=digest, by=self.accounts[by], approvals=1)

    def consent(self, study, patient, hospital, *, purposes=5, days=400, flags=1):
        """A grant, or with purposes=0 a withdrawal."""
        who = (study.number, pseudonym(patient))
        nonce = self.nonces[who] = self.nonces.get(who, 0) + 1
        self.sequence += 1
        expiry = (self.time // DAY + days) * DAY if purposes else 0
        relay = self.number(hospital)
        slot = purposes << 128 | expiry << 64 | nonce << 32 | relay << 16 | flags
        return self.tell(
            "Consent.ConsentChanged", study=study.number, subject=pseudonym(patient),
            digest=bytes(32) if flags == 2 else os.urandom(32), sequence=self.sequence, slot=slot,
        )  # fmt: skip

    def withdraw(self, study, patient, hospital, *, flags=1):
        return self.consent(study, patient, hospital, purposes=0, flags=flags)

    # Asking

    @property
    def history(self):
        last = self.events[-1]
        return History.of(self.events, genesis=self.genesis, block=last.block, time=last.time)

    def sources(self, **changes):
        documents = Documents.of(self.documents)
        known = {"history": self.history, "founding": self.founding, "documents": documents}
        return Sources(**{**known, **changes})


@dataclass
class Study:
    """A study of the story; `run` is told hospital by hospital."""

    story: Story
    name: str
    digest: bytes
    number: bytes

    def plan(self, *, approved_by=HOSPITALS, by="coordinator"):
        payload = {
            "study": self.name,
            "purpose": "heart-research",
            "model": "m/1",
            "nonce": os.urandom(4).hex(),
        }
        document = Document("twinward/plan/v1", payload)
        self.story.documents.append((f"{payload['nonce']}.json", document.encode()))
        self.story.record(document.digest, Kind.PLAN, [self.digest], by=by)
        for name in approved_by:
            self.story.approve(document.digest, name)
        return document.digest

    def run(self, plan, hospitals=HOSPITALS, *, micro_mu2=60_000, run=None):
        run = run or os.urandom(32)
        for name in hospitals:
            self.reserve(plan, run, name, micro_mu2)
        return run

    def evaluation(self, plan, run, hospitals=HOSPITALS, *, micro_mu2=900_000):
        return self.run(plan, hospitals, micro_mu2=micro_mu2, run=evaluation_run(run))

    def reserve(self, plan, run, name, micro_mu2):
        spent = self.story.spent[name] = self.story.spent.get(name, 0) + micro_mu2
        return self.story.tell(
            "Provenance.Reserved", hospital=self.story.accounts[name], run=run, plan=plan,
            microMu2=micro_mu2, spent=spent,
        )  # fmt: skip

    def release(self, plan):
        return self.story.record(os.urandom(32), Kind.MODEL, [plan])
