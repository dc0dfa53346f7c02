"""A change of contract addresses over a real ledger: by every active hospital, or not at all."""

import os
from contextlib import closing

import pytest

from hospital_node import moving as at_hospital
from hospital_node.membership import load_founding
from hospital_node.node import connect_ledger
from ledger.chain import Kind
from ledger.deployed import contracts_of
from ledger.endpoint import Endpoint
from ledger.history import History
from ledger.history_feed import HistoryFeed
from server import moving
from server.daemon import found_ledger
from server.founding_ceremony import OutsideLedger, begin, complete
from tests.simulators.founding import NOW, Paper, changed
from tests.simulators.ledger.fixtures import node
from tests.simulators.ledger.network import CHAIN_ID
from twinward import moved
from twinward.errors import IdentityError, LedgerError, TwinwardError, UsageError
from twinward.founding import Founding
from twinward.signing import Document, Identity

__all__ = ["node"]


class World:
    """A founded network on a ledger, and folders of everybody."""

    def __init__(self, node, folder):
        self.node, self.paper = node, Paper(folder)
        home = self.paper.home.folder
        outside = OutsideLedger.ask(node.url, ca=None, chain_id=CHAIN_ID, folder=home)
        path = begin(home, self.paper.requests(), now=NOW, outside=outside)
        copies = [self.paper.signed(path, name) for name in self.paper.hospitals]
        data = complete(home, copies).read_bytes()
        self.founding = Founding.decode(data)
        self.folders = {name: one.folder for name, one in self.paper.members.items()}
        for name, member in self.paper.members.items():
            member.founding_file.write_bytes(data)
            (member.folder / "node.toml").write_text(
                f'org = "{name}"\ndata = "none"\ndesk_port = 1\nflower_port = 2\n'
            )
        found_ledger(self.founding, self.paper.home).close()

    def chain(self, name):
        folder = self.folders[name]
        key = self.paper.members[name].ledger_key()
        return connect_ledger(load_founding(folder), key, folder=folder)

    def suspend(self, victim):
        identity = bytes.fromhex(self.founding.member(victim).fingerprint)
        for name in self.paper.hospitals:
            if name != victim:
                with closing(self.chain(name)) as chain:
                    chain.suspend(identity)

    def propose(self, *contracts, **more):
        return moving.propose(
            self.paper.home.folder, contracts=contracts or ("provenance",), reason="why", **more
        )

    def signed(self, path, *names):
        return [at_hospital.sign(self.folders[name], path)[0].read_bytes() for name in names]

    def publish(self, copies):
        return moving.publish(self.paper.home.folder, copies)[0]

    def accept(self, name, path):
        return at_hospital.accept(self.folders[name], path)


@pytest.fixture
def world(node, tmp_path):
    return World(node, tmp_path)


def refused(code, call, *arguments):
    with pytest.raises(TwinwardError) as refusal:
        call(*arguments)
    assert refusal.value.code == code, refusal.value
    return refusal.value


def test_what_every_hospital_signed_is_put_there_taken_over_and_remembers(world, tmp_path):
    with closing(world.chain("harbour")) as chain:
        chain.state_cap(5_000_000)
        chain.raise_fence()
    before = contracts_of(world.founding)
    path, move = world.propose("audit_anchor", "provenance")
    file = world.publish(world.signed(path, *world.paper.hospitals))
    for name in world.paper.hospitals:
        assert world.accept(name, file).number == 1
    after = contracts_of(load_founding(world.folders["harbour"]))
    assert (after.membership, after.consent) == (before.membership, before.consent)
    assert after.before == before.provenance
    assert {name for name, _ in after.replaced} == {"Provenance", "AuditAnchor"}
    with closing(world.chain("harbour")) as chain:
        chain.check_contracts(founding_digest=world.founding.digest)
        assert chain.cap(chain.account).micro_mu2 == 5_000_000
        assert chain.raise_fence() == 2
    # The coordinator's next start finds them, and both old and new events are the history.
    moved_founding = load_founding(world.folders["harbour"])
    with closing(found_ledger(moved_founding, world.paper.home)) as chain:
        chain.record(os.urandom(32), Kind.STUDY)
    genesis = bytes.fromhex(world.founding.chain["genesis_hash"])
    names = []
    for contracts in (before, after):  # a copy from before the move is filled anew
        with (
            closing(Endpoint(world.node.url).rpc()) as rpc,
            closing(
                History.open(tmp_path / "history", genesis=genesis, contracts=contracts)
            ) as history,
        ):
            HistoryFeed(history, rpc=rpc, contracts=contracts).sync()
            names.append([one.name for one in history.events()])
    assert [one.count("FenceRaised") for one in names] == [1, 2]
    assert [one.count("Recorded") for one in names] == [0, 1]
    # And it moves again from there, never back.
    _, move = world.propose("provenance")
    assert move.number == 2
    assert move.old == dict(moved_founding.contracts)
    refused("TW3511", world.signed, path, "harbour")


def test_one_signature_that_is_missing_stops_everything(world):
    path, _ = world.propose()
    copies = world.signed(path, "harbour", "meadow")
    refused("TW2004", world.publish, copies)
    partly = moved.merge([Document.decode(one, kind=moved.KIND) for one in copies])
    file = path.with_name("partly.json")
    file.write_bytes(moved.encode([partly]))
    refused("TW2004", world.accept, "harbour", file)
    assert not load_founding(world.folders["harbour"]).moves


def test_a_suspended_hospital_neither_signs_nor_is_asked_nor_stops_the_others(world):
    early, _ = world.propose()
    world.suspend("station")
    # What asks for it, or leaves out one that is active, is refused by everyone.
    refused("TW3512", world.signed, early, "harbour")
    path, move = world.propose()
    assert [world.founding.member("station").fingerprint] == list(move.suspended)
    refused("TW3515", world.signed, path, "station")
    alone = move.document.signed_by(world.paper.members["station"].identity())
    refused("TW2004", world.publish, [alone.encode()])
    file = world.publish(world.signed(path, "harbour", "meadow"))
    for name in world.paper.hospitals:  # the suspended one as well: its desk is still up
        assert world.accept(name, file).number == 1


def test_an_older_move_is_not_made_again(world):
    first, _ = world.propose("provenance")
    signed = world.signed(first, *world.paper.hospitals)
    file = world.publish(signed)
    once = file.read_bytes()
    world.accept("harbour", file)
    refused("TW3511", world.publish, signed)
    refused("TW3511", world.accept, "harbour", file)
    second, _ = world.propose("audit_anchor")
    for name in ("meadow", "station"):
        world.accept(name, file)
    file = world.publish(world.signed(second, *world.paper.hospitals))
    world.accept("harbour", file)
    replay = file.with_name("replay.json")
    replay.write_bytes(once)
    refused("TW3511", world.accept, "harbour", replay)
    # One that missed the first takes both, one after the other, never the second alone.
    only = moved.decode(file.read_bytes(), at="moves")[1:]
    replay.write_bytes(moved.encode(only))
    refused("TW3511", world.accept, "meadow", replay)
    assert world.accept("meadow", file).number == 2


def test_a_move_of_another_network_is_refused_by_all(world):
    path, move = world.propose()
    for field in ("genesis", "founding"):
        payload = {**move.document.payload, field: os.urandom(32).hex()}
        path.write_bytes(Document(moved.KIND, payload).encode())
        refused("TW3511", world.signed, path, "harbour")
    stranger = Identity.generate().public.fingerprint
    payload = {**move.document.payload, "suspended": [stranger]}
    path.write_bytes(Document(moved.KIND, payload).encode())
    refused("TW3511", world.signed, path, "harbour")


def test_what_patients_and_members_signed_for_never_moves(world):
    path, move = world.propose()
    elsewhere = "0x" + "ab" * 20
    wrong = [
        {"new": {**move.new, "consent": elsewhere}},
        {"new": {**move.new, "membership": elsewhere}},
        {"new": {**move.new, "before": elsewhere}},
        {"new": {**move.new, "provenance": move.old["consent"]}},
        {"new": dict(move.old)},
        {"signers": list(move.signers)[:1], "suspended": sorted(move.signers)[1:]},
        {"version": 2},
        {"reason": ""},
        {"block": 0},
        {"extra": 1},
    ]
    for change in wrong:
        path.write_bytes(Document(moved.KIND, {**move.document.payload, **change}).encode())
        refused("TW3510", world.signed, path, "harbour")


def test_no_changed_byte_of_a_signed_move_is_taken_over(world):
    path, _ = world.propose()
    file = world.publish(world.signed(path, *world.paper.hospitals))
    good, name = file.read_bytes(), "harbour"
    target = file.with_name("changed.json")
    for place in range(0, len(good), max(1, len(good) // 150)):
        target.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises((UsageError, IdentityError, LedgerError)):
            world.accept(name, target)
    target.write_bytes(good)
    world.accept(name, target)
    kept = world.folders[name] / moved.FILE  # nor if somebody changes it on the disk afterwards
    kept.write_bytes(
        changed(good, lambda value: value["moves"][0]["payload"].update(reason="other"))
    )
    refused("TW2002", load_founding, world.folders[name])


def test_before_its_block_and_before_the_contracts_stand_it_is_not_in_force(world):
    path, move = world.propose(block=10_000)
    copies = world.signed(path, *world.paper.hospitals)
    assert "10000" in refused("TW3513", world.publish, copies).diagnostic.message
    path, move = world.propose()
    with closing(world.chain("harbour")) as chain:
        chain.state_cap(1)  # a block, so that only the contracts are lacking
    elsewhere = {**move.new, "provenance": "0x" + "cd" * 20}
    empty = Document(moved.KIND, {**move.document.payload, "new": elsewhere})
    for member in world.paper.members.values():
        empty = empty.signed_by(member.identity())
    file = path.with_name("early.json")
    file.write_bytes(moved.encode([empty]))
    refused("TW5023", world.accept, "harbour", file)
    refused("TW3514", world.publish, [empty.encode()])
