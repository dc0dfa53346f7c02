"""A hospital asks for a shard again, and says "trained again" only of what it knows itself."""

from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest

from consent.completions import Completions
from consent.pipeline import progress
from hospital_node import parts
from hospital_node.egress import Egress
from hospital_node.node import connect_ledger
from hospital_node.privacy import tombstones
from hospital_node.privacy.lifetime import Lifetime
from hospital_node.withdrawn import pipeline_of
from ledger.chain import Kind
from tests.simulators.consent.world import HOSPITAL, STUDY, Hospital, Patient
from twinward import retirement, shards

OLD, NEW = (shards.Shard(1, seed * 32).run for seed in ("5a", "5b"))


class Node:
    """As much of one as withdrawals need: real accounts and ledger, consents in a simulator."""

    def __init__(self, world, folder, stack):
        self.hospital, member = Hospital(folder), world.paper.members["harbour"]
        identity = member.identity()
        completions = Completions(folder / "completions.db")
        lifetime = Lifetime(
            folder / "spend.sqlite", key=identity.derive(tombstones.PURPOSE),
            records=self.hospital.records, limit_mu2=9.0,
        )  # fmt: skip
        chain = connect_ledger(world.founding, member.ledger_key(), folder=member.folder)
        egress = Egress(folder / "egress.log", clock=self.hospital.clock)
        for each in (completions.store, lifetime, chain, egress):
            stack.callback(each.close)
        self.parts = SimpleNamespace(
            vault=self.hospital.vault, completions=completions, lifetime=lifetime, chain=chain,
            egress=egress, founding=world.founding, identity=identity, clock=self.hospital.clock,
            settings=SimpleNamespace(org=HOSPITAL),
            surroundings=SimpleNamespace(studies={STUDY.id32: STUDY}),
            audit=SimpleNamespace(did=lambda *_, **__: None),
        )  # fmt: skip

    def charged(self, run, *rows):
        """These patients are set aside for this run of shard 1."""
        wanted = np.zeros(len(self.hospital.records), dtype=bool)
        wanted[list(rows)] = True
        what = parts.training_of(STUDY.name, shard=1)
        self.parts.lifetime.begin(run, what=what, mu2=0.1, wanted=wanted)

    def last_words(self):
        pipeline_of(self.parts).advance()
        found = progress(self.hospital.vault, self.parts.completions)
        return [one.completion.payload for one in found]


@pytest.fixture
def node(world, tmp_path):
    with ExitStack() as stack:
        yield Node(world, tmp_path, stack)


def test_the_wish_is_on_the_ledger_and_the_next_word_follows_the_nodes_own_accounts(
    world, node, tmp_path
):
    node.charged(OLD, 0, 1, 2)
    for row in (0, 1, 3):
        patient = Patient(node.hospital, row)
        patient.grants()
        node.hospital.push()
        patient.withdraws()
    node.hospital.push()
    said = node.last_words()
    assert [one["retraining"] for one in said] == ["wanted", "wanted", "not-offered"]
    harbour = world.founding.member("harbour").ledger_account.lower()
    old, new = bytes.fromhex(OLD), bytes.fromhex(NEW)
    assert world.chain.recorded_by(shards.wanted(old)) == harbour
    assert (tmp_path / "egress.log").read_text().count('"retraining"') == 1  # not once for each

    node.charged(NEW, 1, 2)  # patient 1 said yes again
    node.parts.chain.record(shards.replaced(old, by=new), Kind.PACK)  # a hospital's word is none
    world.chain.record(retirement.marker(old), Kind.PACK)
    said = node.last_words()
    assert [one["models"][0]["becomes"] for one in said[:2]] == ["retired", "retired"]


def test_it_is_trained_again_once_the_coordinator_says_which_run_took_the_place(world, node):
    old, new = (shards.Shard(1, seed * 32).run for seed in ("6a", "6b"))
    node.charged(old, 0, 1, 2)
    for row in (0, 1):
        patient = Patient(node.hospital, row)
        patient.grants()
        node.hospital.push()
        patient.withdraws()
    node.hospital.push()
    assert {one["models"][0]["becomes"] for one in node.last_words()} == {"bounded"}
    node.charged(new, 1, 2)
    marker = shards.replaced(bytes.fromhex(old), by=bytes.fromhex(new))
    world.chain.record(marker, Kind.PACK)
    assert [one["revision"] for one in node.last_words()] == [1, 1]  # not retired yet
    world.chain.record(retirement.marker(bytes.fromhex(old)), Kind.PACK)
    without, with_it = node.last_words()
    assert (without["models"][0]["becomes"], without["retraining"]) == ("retrained", "done")
    assert without["models"][0]["successor"] == new
    assert (with_it["models"][0]["becomes"], with_it["retraining"]) == ("retired", "wanted")
