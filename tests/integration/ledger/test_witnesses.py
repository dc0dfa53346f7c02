"""Witnesses: never two blocks at a height, votes on disk before they are seen, splits proved."""

import json
import sqlite3
from contextlib import closing

import pytest

from ledger import verify
from ledger.fork import Statements, evidence
from ledger.witness import BlockStatement, Votes, Witness
from server.witnesses import Witnesses
from tests.simulators.finished_run import found
from tests.simulators.ledger.followers import Follower
from tests.simulators.ledger.network import LedgerNetwork, RunningNode
from twinward import canonical
from twinward.errors import IdentityError, LedgerError, UsageError
from twinward.signing import Document, Identity

ORGS = ("coordinator", "east", "north", "south")


class Side:
    """One operator's node, a follower of it and the coordinator's signature on its tips."""

    def __init__(self, folder, world, *, genesis=None, fences=0):
        (folder / "operator").mkdir(parents=True)
        self.world = world
        self.operator = RunningNode(
            folder / "operator", **({"genesis": genesis} if genesis else {})
        )
        self.genesis = self.operator.genesis.hash()
        self.network = LedgerNetwork(self.operator.url, genesis=self.genesis, hospitals=3)
        for _ in range(fences):
            self.more()
        self.follower = Follower(
            folder / "follower", self.operator.url, genesis=self.operator.genesis
        )
        self.follower.following.catch_up()
        self.own = self.follower.rpc

    def more(self):
        self.network.hospitals[0].raise_fence()

    def tip(self, *, signer="coordinator", genesis=None):
        statement = self.network.coordinator.tip().statement(
            genesis=genesis or self.genesis, now=1.0
        )
        return statement.signed_by(self.world[signer])

    def witness(self, path, org="east"):
        return Witness(
            Votes(path),
            identity=self.world[org],
            genesis=self.genesis,
            coordinator=self.world["coordinator"].public,
        )

    def close(self):
        self.network.close()
        self.follower.stop()
        self.operator.stop()


@pytest.fixture(scope="module")
def world():
    return {org: Identity.generate() for org in ORGS}


@pytest.fixture
def side(tmp_path, world):
    side = Side(tmp_path / "one", world)
    yield side
    side.close()


@pytest.fixture
def other(tmp_path, world, side):
    """The same first block, another history."""
    other = Side(tmp_path / "two", world, genesis=side.operator.genesis, fences=2)
    yield other
    other.close()


def closed(witness):
    witness._votes.close()


def numbers(signed):
    return [BlockStatement.read(document).number for document in signed]


def test_a_witness_signs_what_its_own_node_executed_once(tmp_path, world, side):
    witness = side.witness(tmp_path / "votes")
    first = witness.attest(side.own, side.tip())
    height = side.operator.engine.head.block_number
    assert numbers(first) == list(range(1, height + 1))
    for document in first:
        document.verify(world["east"].public)
    assert numbers(witness.attest(side.own, side.tip())) == [height]
    side.more()
    assert numbers(witness.attest(side.own, side.tip())) == [height]  # not executed here yet
    side.follower.following.catch_up()
    assert numbers(witness.attest(side.own, side.tip())) == [height + 1]
    closed(witness)


def test_the_vote_is_on_disk_before_it_is_signed(tmp_path, world, side):
    path = tmp_path / "votes"
    seen = []

    class Watching(Identity):
        def sign(self, kind, message):
            with closing(sqlite3.connect(path)) as db:
                seen.append(db.execute("select count(*) from votes").fetchone()[0])
            return super().sign(kind, message)

    witness = side.witness(path)
    witness._identity = Watching(world["east"]._key)
    signed = witness.attest(side.own, side.tip())
    assert set(seen) == {len(signed)}
    closed(witness)


def test_a_witness_never_signs_two_blocks_at_a_height(tmp_path, world, side, other):
    path = tmp_path / "votes"
    witness = side.witness(path)
    witness.attest(side.own, side.tip())
    closed(witness)
    again = side.witness(path)  # the process died, and the operator shows another history
    with pytest.raises(LedgerError) as refusal:
        again.attest(other.own, other.tip())
    assert refusal.value.code == "TW3558"
    number, block_hash = again._votes.last()
    with pytest.raises(LedgerError) as refusal:
        again._votes.cast([(number + 1, b"\1" * 32), (number, b"\2" * 32)])
    assert refusal.value.code == "TW3557"
    assert again._votes.last() == (number, block_hash)  # the other one of the two is not there
    again._votes.cast([(number, block_hash)])
    closed(again)


def test_a_tip_that_is_not_what_the_operator_gave_out_is_refused(tmp_path, side, other):
    witness = side.witness(tmp_path / "votes")
    while side.operator.engine.head.block_number < other.operator.engine.head.block_number:
        side.more()
    side.follower.following.catch_up()
    with pytest.raises(LedgerError) as refusal:
        witness.attest(side.own, other.tip())
    assert refusal.value.code == "TW3558"
    assert witness._votes.last() is None
    closed(witness)


def test_only_the_coordinators_tip_of_this_ledger_counts(tmp_path, side):
    witness = side.witness(tmp_path / "votes")
    with pytest.raises(IdentityError):
        witness.attest(side.own, side.tip(signer="north"))
    with pytest.raises(LedgerError) as refusal:
        witness.attest(side.own, side.tip(genesis=b"\7" * 32))
    assert refusal.value.code == "TW3558"
    closed(witness)


def test_a_lost_record_of_votes_is_not_made_up(tmp_path):
    (tmp_path / "votes").write_bytes(b"no database, " * 500)
    with pytest.raises(LedgerError) as refusal:
        Votes(tmp_path / "votes")
    assert refusal.value.code == "TW3556"


# A fork


def shown(tmp_path, side, org, *, times=1):
    witness = side.witness(tmp_path / f"votes-{org}", org)
    for _ in range(times):
        witness.attest(side.own, side.tip())
        side.more()
        side.follower.following.catch_up()
    statements = Statements.collect(witness._votes, side.own)
    closed(witness)
    return Statements.decode(statements.encode(), at="file")


@pytest.fixture
def founding(world, side):
    chain = {
        "genesis_hash": side.genesis.hex(),
        "contracts": side.network.contracts.to_json(),
    }
    return found(world, chain=chain).document.encode()


@pytest.mark.parametrize("later", [0, 2])
def test_two_histories_shown_to_two_witnesses_are_proved_offline(
    tmp_path, side, other, founding, later
):
    """At one height, and at heights that never met: then the headers lead from one to the other."""
    while side.operator.engine.head.block_number < other.operator.engine.head.block_number + later:
        side.more()
    side.follower.following.catch_up()
    east, north = shown(tmp_path, side, "east"), shown(tmp_path, other, "north")
    for mine, theirs in ((east, north), (north, east)):
        archive = evidence(mine, theirs, founding=founding)
        report = verify.verify_bytes(archive, founding=founding)
        assert report.ok
        assert "coordinator signed two histories" in report.checks[-1].detail
        records, _ = verify.read_archive(archive)
        assert len(json.loads(records["fork.json"])["headers"]) == later


def test_one_history_is_no_fork(tmp_path, side, founding):
    east = shown(tmp_path, side, "east", times=2)
    north = shown(tmp_path, side, "north", times=2)
    assert evidence(east, north, founding=founding) is None
    assert evidence(east, Statements((), {}), founding=founding) is None


def test_made_up_evidence_of_a_fork_is_refused(tmp_path, world, side, other, founding):
    east, north = shown(tmp_path, side, "east"), shown(tmp_path, other, "north")
    archive = evidence(east, north, founding=founding)
    records, _ = verify.read_archive(archive)
    value = json.loads(records["fork.json"])

    def code(**changes):
        record = canonical.encode({**value, **changes})
        changed = verify.write_archive({**records, "fork.json": record})
        (fault,) = verify.verify_bytes(changed, founding=founding).faults
        return fault.code

    stranger = Document(side.tip().kind, side.tip().payload).signed_by(Identity.generate())
    assert code(first=json.loads(stranger.encode())) == "V120"
    assert code(first=json.loads(side.tip(signer="north").encode())) == "V120"
    assert code(first=json.loads(side.tip(genesis=b"\7" * 32).encode())) == "V120"
    assert code(second=value["first"], headers=[]) == "V122"
    assert code(headers=value["headers"][:-1]) == "V121"
    assert code(headers=[*value["headers"][:-1], "0xc0"]) == "V121"
    with pytest.raises(UsageError):
        Statements.decode(b'{"tips":1}', at="file")


# The coordinator's collection


def collection(world, side):
    hospitals = {world[org].public.fingerprint: world[org].public for org in ORGS[1:]}
    return Witnesses(genesis=side.genesis, hospitals=hospitals)


def message(*documents, quorum=1):
    blocks = [json.loads(document.encode()) for document in documents]
    return canonical.encode({"quorum": quorum, "blocks": blocks})


def test_co_signatures_meet_on_one_document(tmp_path, world, side):
    witnesses = collection(world, side)
    assert witnesses.present == 0
    for count, org in enumerate(ORGS[1:], 1):
        witness = side.witness(tmp_path / org, org)
        by = world[org].public.fingerprint
        signed = witness.attest(side.own, side.tip())
        answer = canonical.decode(witnesses.take(by, message(*signed, quorum=count)))
        assert len(answer["block"]["signatures"]) == count
        wanted = message(signed[-1], quorum=count + 1)
        assert canonical.decode(witnesses.take(by, wanted))["block"] is None
        assert witnesses.present == count
        closed(witness)
    tip = side.network.coordinator.tip()
    together = witnesses.of(tip.number, tip.hash)
    for org in ORGS[1:]:
        together.verify(world[org].public)
    assert not witnesses.of(tip.number, b"\1" * 32).signatures


def test_nobody_signs_for_another(world, side):
    witnesses = collection(world, side)
    tip = side.network.coordinator.tip()
    statement = BlockStatement(side.genesis, tip.number, tip.hash).document()
    north, east = world["north"], world["east"]
    refused = [
        (east, statement.signed_by(north), IdentityError),
        (world["coordinator"], statement.signed_by(world["coordinator"]), IdentityError),
        (east, statement, IdentityError),
        (
            east,
            BlockStatement(b"\7" * 32, 1, tip.hash).document().signed_by(east),
            UsageError,
        ),
    ]
    for who, document, error in refused:
        with pytest.raises(error):
            witnesses.take(who.public.fingerprint, message(document))
    both = statement.signed_by(north).signed_by(east)
    witnesses.take(east.public.fingerprint, message(both))
    kept = witnesses.of(tip.number, tip.hash)
    assert [by for by, _ in kept.signatures] == [east.public.fingerprint]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"blocks":[],"quorum":0}', b'{"blocks":[1],"quorum":1}'],
)
def test_garbage_from_a_hospital_is_refused(world, side, body):
    with pytest.raises(UsageError):
        collection(world, side).take(world["east"].public.fingerprint, body)
