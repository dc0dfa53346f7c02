"""The whole chain holds nothing that leads to a person; and the walk would notice if it did."""

import csv
import itertools
import os
import random
import sqlite3
from contextlib import closing
from hashlib import sha256

import pytest

from consent.hidden import Hidden
from consent.signature import address_of
from consent.spread import Spread
from consent.study import Study
from hospital_node.consents import vault_key
from ledger.deployed import CONTRACTS, Addresses, artifact
from ledger.history import History
from ledger.history_feed import HistoryFeed
from ledger.provenance import Kind
from ledger.rpc import Rpc
from tests.simulators.consent.world import GENESIS, NOW, Hospital, Patient
from tests.simulators.ledger.fixtures import node
from tests.simulators.ledger.network import LedgerNetwork
from tests.simulators.ledger.network import Patient as Subject
from tests.simulators.ledger.walk import Walk, linked_by_timing, shared_keys
from twinward.ids import StudyId

__all__ = ["node"]
CODE = frozenset(artifact(name).bytecode[:32] for name in CONTRACTS)


def secrets_of(network):
    """What only hospitals and patients may know: record numbers, values, codes, private keys."""
    found = set()
    for name in network.hospitals:
        path = network.folder / name / "state" / "vault.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            rows = {bytes(row) for (row,) in db.execute("select record from bindings")}
            hidden = Hidden(vault_key(network.folder / name))
            found |= rows | {hidden.show(row).encode() for row in rows}
            found |= {bytes(code) for (code,) in db.execute("select code_hash from enrolments")}
        for secret in (network.folder / name / "secrets").iterdir():
            found.add(secret.read_bytes().strip())
    with network.wallet() as wallet:
        for entry in wallet.entries():
            found |= {entry.letter.code, entry.reference.encode()}
    return found


def small_domains(network):
    """Everything about a patient that has few possible values, as a hospital would write it."""
    found = {str(number).encode() for number in range(2_000)}
    for name in network.hospitals:
        found |= {f"{name}-{number:04}".encode() for number in range(400)}
        found |= {f"{name}{number}".encode() for number in range(400)}
        found.add(name.encode())
        with network.local.data[name].open() as lines:
            for row in csv.reader(lines):
                found |= {cell.strip().encode() for cell in row}
                found.add(",".join(row).encode())
    return found - {b""}


@pytest.mark.slow
def test_the_chain_of_a_finished_demo_leads_to_nobody(network, tmp_path):
    network.complete_run()
    founding = network.founding()
    rpc = network.ledger()
    with closing(rpc):
        walk = Walk(rpc)
        assert walk.blocks > 5
        assert walk.texts(code=CODE) == []
        secrets = secrets_of(network)
        assert len(secrets) > 400
        assert walk.quotes(secrets) == []
        salts = (b"", founding.chain["genesis_hash"].encode(), b"heart-risk")
        assert walk.guessable(small_domains(network), salts=salts) == []
        genesis = bytes.fromhex(founding.chain["genesis_hash"])
        contracts = Addresses.from_json(founding.chain["contracts"])
        path = tmp_path / "history.sqlite"
        with closing(History.open(path, genesis=genesis, contracts=contracts)) as history:
            HistoryFeed(history, rpc=rpc, contracts=contracts).sync()
            changes = [
                (event.raw("study"), event.raw("subject"))
                for event in history.events(kind="Consent.ConsentChanged")
            ]
    assert len(changes) > 150
    assert shared_keys(changes) == []


@pytest.fixture(scope="module")
def careless(node):
    """A network of members who write what they must not."""
    network = LedgerNetwork(node.url, genesis=node.genesis.hash())
    yield network
    network.close()


def test_a_record_number_and_a_plain_hash_of_one_are_noticed(careless, node):
    careless.coordinator.record(b"record cleveland-0017".ljust(32, b"\0"), Kind.DATASET)
    careless.coordinator.record(sha256(b"cleveland-0017").digest(), Kind.DATASET)
    careless.coordinator.record(sha256(b"heart-risk" + b"63").digest(), Kind.DATASET)
    rpc = Rpc(node.url)
    with closing(rpc):
        walk = Walk(rpc)
    assert any(b"cleveland-0017" in text for _, text in walk.texts(code=CODE))
    assert walk.quotes({b"cleveland-0017"}) == [b"cleveland-0017"]
    domain = [b"cleveland-0017", b"cleveland-0018", b"63"]
    found = walk.guessable(domain, salts=(b"", b"heart-risk"))
    assert {spelled for _, _, spelled in found} == {b"cleveland-0017", b"heart-risk63"}


def test_one_key_in_two_studies_is_noticed(careless):
    first = Subject(careless, study=os.urandom(32))
    again = Subject(careless, study=os.urandom(32), key=first.key)
    other = Subject(careless, study=os.urandom(32))
    people = (first, again, other)
    careless.hospitals[0].relay_grants([one.signed_grant() for one in people])
    changes = [(one.study, one.subject) for one in people]
    assert shared_keys(changes) == [first.subject]


class Clinic(Hospital):
    """A hospital with four studies, whose relay spreads what one patient answers, or does not."""

    def __init__(self, folder, *, spread, **more):
        self.studies = [
            Study(
                network=GENESIS.hex(), name=StudyId(f"study-{n}"), salt=f"{n:02}" * 32,
                title="?", purpose="heart-research", categories=("age",),
                closes=int(NOW) + 10**8,
            )
            for n in range(1, 5)
        ]  # fmt: skip
        self.spread = spread
        super().__init__(folder, study=self.studies[0], **more)

    def _build(self):
        super()._build()
        self.desk._desk.studies.update({one.id32: one for one in self.studies})
        if self.spread:
            self.relay._spread = Spread(self.vault, b"\x05" * 32, self.clock)

    def visit(self, number):
        """One patient answers the letters of all studies in one go; their subjects."""
        subjects = []
        for place, study in enumerate(self.studies):
            self.study = study  # the next letter is of this one
            patient = Patient(self, number)
            patient.key = sha256(f"key {place} of visit {number}".encode()).digest()
            patient.subject = address_of(patient.key)  # fixed: each run draws the same waits
            patient.grants()
            subjects.append(patient)
        return subjects


def ledger_after_a_day(folder, *, spread):
    """(time, study, patient) of each grant as the ledger shows it; a visit each four minutes."""
    visits, rng = 60, random.Random(11)
    clinic = Clinic(folder, spread=spread, patients=visits)
    arrivals = sorted(rng.uniform(0, visits * 240) for _ in range(visits))
    who, waiting = {}, list(enumerate(arrivals))
    while waiting or clinic.vault.ready_for_ledger():
        while waiting and clinic.clock.now() >= NOW + waiting[0][1]:
            number, _ = waiting.pop(0)
            who |= {(one.letter.study.id32, one.subject): number for one in clinic.visit(number)}
        clinic.push()
        clinic.clock.at += 20
    blocks = sorted(clinic.ledger.slots.items(), key=lambda item: item[1].block)
    assert len(blocks) == 4 * visits
    return [(slot.block, study, who[study, subject]) for (study, subject), slot in blocks]


def test_the_timing_of_the_ledger_does_not_link_the_keys_of_one_visit(tmp_path):
    changes = ledger_after_a_day(tmp_path, spread=True)
    neighbours = itertools.pairwise(changes)
    together = [one for one, next_ in neighbours if (one[0], one[2]) == (next_[0], next_[2])]
    assert len(together) <= 4
    assert linked_by_timing(changes) < 0.25


def test_keys_of_one_visit_that_go_at_once_are_noticed(tmp_path):
    assert linked_by_timing(ledger_after_a_day(tmp_path, spread=False)) > 0.9


def test_withdrawals_of_one_visit_are_spread_and_still_bite_at_once(tmp_path):
    clinic = Clinic(tmp_path, spread=True, patients=3)
    patients = clinic.visit(0)
    for _ in range(100):
        clinic.push()
        clinic.clock.at += 20
    assert clinic.ledger.slots.keys() >= {(p.letter.study.id32, p.subject) for p in patients}
    for patient in patients:
        patient.withdraws(nonce=1)
    deadline = clinic.clock.now() + 1_800
    blocks = []
    for study, patient in zip(clinic.studies, patients, strict=True):
        clinic.study = study
        assert not patient.is_used()
    while clinic.clock.now() < deadline:
        clinic.push()
        blocks.append(sum(slot.purposes == 0 for slot in clinic.ledger.slots.values()))
        clinic.clock.at += 20
    clinic.push()
    assert blocks[0] == 1
    assert len(set(blocks)) >= 3
    assert all(slot.purposes == 0 for slot in clinic.ledger.slots.values())


def test_a_visit_is_spread_in_the_same_way_after_a_restart(tmp_path):
    clinic = Clinic(tmp_path, spread=True, patients=3)
    clinic.visit(0)
    before = [d for d in clinic.vault.ready_for_ledger() if clinic.relay._due("grants", d)]
    clinic.reopen()
    after = [d for d in clinic.vault.ready_for_ledger() if clinic.relay._due("grants", d)]
    assert before == after
    assert len(before) == 1
