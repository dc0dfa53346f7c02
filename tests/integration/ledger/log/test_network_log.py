"""The network's log over a real ledger: the same for all who follow, and only that is co-signed."""

import os
from contextlib import closing
from dataclasses import replace

import pytest

from ledger import verify
from ledger.history import History
from ledger.history_feed import HistoryFeed
from ledger.log import answer, checkpoint
from ledger.log.network import NetworkLog, body_of
from ledger.log.store import Log
from ledger.log.witness import LogWitness
from ledger.provenance import Kind
from ledger.rpc import Rpc
from tests.simulators.finished_run import found
from tests.simulators.ledger.liar import LyingNode
from tests.simulators.ledger.network import Patient
from twinward.errors import EvidenceError, UsageError
from twinward.signing import Identity

ORGS = ("coordinator", "north", "south", "east")


class Story:
    """A coordinator that keeps the log, and witnesses with nodes of their own."""

    def __init__(self, folder, network):
        self.folder, self.network = folder, network
        self.identities = {name: Identity.generate() for name in ORGS}
        self.founding = found(
            self.identities,
            chain={
                "genesis_hash": network.genesis.hex(),
                "contracts": network.contracts.to_json(),
            },
        )
        self.origin = checkpoint.network_origin(network.genesis)
        self.log = Log(folder / "log.sqlite", origin=self.origin)
        self.history = History.open(
            folder / "events.sqlite", genesis=network.genesis, contracts=network.contracts
        )

    def happens(self):
        """Something of everything."""
        study = os.urandom(32)
        patients = [Patient(self.network, study=study) for _ in range(4)]
        self.network.hospitals[0].relay_grants([p.signed_grant() for p in patients])
        self.network.hospitals[1].relay_withdrawal(*patients[1].signed_withdrawal())
        digest = os.urandom(32)
        self.network.coordinator.record(digest, Kind.STUDY)
        self.network.hospitals[2].approve(digest)
        return study, patients, digest

    def note(self, *, drop=()):
        """The coordinator's checkpoint of now; of a history without some events if it lies."""
        with closing(Rpc(self.network.url)) as rpc:
            HistoryFeed(self.history, rpc=rpc, contracts=self.network.contracts).sync()
            head = rpc.call("eth_getBlockByNumber", hex(self.history.block), False)
        known = self.history.events(until=self.log.size, kind="Membership.Joined")
        events = [e for e in self.history.events(self.log.size) if e.number not in drop]
        NetworkLog(self.log, known=known).extend(events)
        block = (self.history.block, bytes.fromhex(head["hash"][2:]))
        state = checkpoint.checkpoint_of(self.origin, self.log.seal(), block=block)
        return checkpoint.sign(state, self.identities["coordinator"])

    def witness(self, org):
        folder = self.folder / org
        folder.mkdir(exist_ok=True)
        return LogWitness(
            folder,
            org=org,
            genesis=self.network.genesis,
            contracts=self.network.contracts,
            coordinator=self.identities["coordinator"].public,
        )

    def cosigned(self, note, org, *, url=None, now=1_800_000_000):
        with closing(Rpc(url or self.network.url)) as rpc:
            return self.witness(org).cosign(
                note.encode(), rpc=rpc, identity=self.identities[org], now=now
            )

    def answer(self, note, *topics):
        events = {e.number - 1: e for e in self.history.events()}
        return answer.build(
            self.log,
            checkpoint=note,
            topics=topics or None,
            body=lambda seq: (events[seq].transaction, body_of(events[seq])),
            question={},
            shown={"founding.json": self.founding.document.encode()},
        )

    def close(self):
        self.log.close()
        self.history.close()


@pytest.fixture
def story(tmp_path, network):
    story = Story(tmp_path, network)
    yield story
    story.close()


def test_everyone_who_follows_computes_the_same_checkpoint_and_may_co_sign(story):
    study, patients, digest = story.happens()
    note = story.note()
    for org in ("north", "south"):
        note = story.cosigned(note, org)
    for topics, counts in (
        ((f"study:{study.hex()}",), [5]),
        ((f"subject:{patients[1].subject.hex()}",), [2]),
        ((f"digest:{digest.hex()}", "subject:" + "00" * 20), [2, 0]),
        ((), None),
    ):
        report = verify.verify_bytes(story.answer(note, *topics))
        assert report.ok, report.faults
        said = [check.detail for check in report.checks if check.name == "complete"]
        if counts is not None:
            assert [int(text.rsplit(" ", 2)[1]) for text in said] == counts
        signed = next(check.detail for check in report.checks if check.name == "checkpoint")
        assert signed.endswith("1 operator, 2 witnesses: north, south")


def test_a_witness_goes_on_from_what_it_signed(story):
    story.happens()
    story.cosigned(story.note(), "north")
    story.happens()
    later = story.cosigned(story.note(), "north", now=1_800_000_100)
    keys = {"north": story.identities["north"].public}
    assert checkpoint.cosigned_by(later, keys) == {"north": 1_800_000_100}


def test_a_log_that_hides_an_event_is_not_co_signed(story):
    story.happens()
    story.note()
    story.happens()
    hidden = story.history.count + 2  # a withdrawal, say
    with pytest.raises(Exception, match="came where") as refusal:
        story.note(drop={hidden})
    assert refusal.value.code == "TW3607"  # an honest program does not even write it
    size = story.log.size
    events = [e for e in story.history.events() if size < e.number < hidden]
    NetworkLog(story.log, known=story.history.events(kind="Membership.Joined")).extend(events)
    state = story.log.seal()
    block = story.history.db.execute(
        "select block, hash from blocks order by block desc limit 1"
    ).fetchone()
    stated = checkpoint.checkpoint_of(story.origin, state, block=(block[0], bytes(block[1])))
    note = checkpoint.sign(stated, story.identities["coordinator"])
    with pytest.raises(EvidenceError) as refusal:
        story.cosigned(note, "north")
    assert refusal.value.code == "TW3605"


def test_a_checkpoint_of_another_block_is_not_co_signed(story):
    story.happens()
    note = story.note()
    liar = LyingNode(story.network.url)
    stated = verify.Checkpoint.parse(note.text)

    def twist(method, params, result):
        if method == "eth_getBlockByNumber" and params[0] == hex(stated.block[0]):
            return {**result, "hash": "0x" + "ab" * 32}
        return result

    liar.twist = twist
    with pytest.raises(EvidenceError) as refusal:
        story.cosigned(note, "north", url=liar.url)
    assert refusal.value.code == "TW3605"
    liar.stop()


def test_the_command_co_signs_in_the_file_and_says_so_in_the_audit_log(story, tmp_path):
    """As a hospital's staff does it, with the node's folder and its own ledger node's address."""
    from click.testing import CliRunner

    from hospital_node.audit_cli import check_audit, cosign
    from hospital_node.settings import NodeSettings, write

    folder = tmp_path / "hospital"
    (folder / "secrets").mkdir(parents=True)
    (folder / "state" / "ledger").mkdir(parents=True)
    (folder / "founding.json").write_bytes(story.founding.document.encode())
    story.identities["east"].save(folder / "secrets" / "identity.key")
    settings = NodeSettings(org="east", data=folder / "none", desk_port=1, flower_port=2)
    write(folder / "node.toml", settings)
    story.happens()
    path = tmp_path / "checkpoint.txt"
    path.write_bytes(story.note().encode())

    refused = CliRunner().invoke(cosign, [str(folder), str(path)])
    assert "TW3566" in refused.output  # its ledger node is not running
    (folder / "state" / "ledger" / "url").write_text(story.network.url)
    done = CliRunner().invoke(cosign, [str(folder), str(path), "--json"])
    assert done.exit_code == 0, done.output
    note = verify.Note.parse(path.read_bytes())
    assert set(checkpoint.cosigned_by(note, {"east": story.identities["east"].public})) == {"east"}
    checked = CliRunner().invoke(check_audit, [str(folder), "--json"])
    assert checked.exit_code == 0, checked.output
    assert '"entries": 1' in checked.output

    stated = replace(verify.Checkpoint.parse(note.text), topics=bytes(32))
    forged = checkpoint.sign(stated, story.identities["coordinator"]).encode()
    path.write_bytes(forged)
    refused = CliRunner().invoke(cosign, [str(folder), str(path)])
    assert "TW3605" in refused.output
    assert path.read_bytes() == forged


def test_only_the_coordinator_s_checkpoint_of_this_network_is_co_signed(story):
    story.happens()
    stated = verify.Checkpoint.parse(story.note().text)
    with pytest.raises(EvidenceError) as refusal:
        story.cosigned(checkpoint.sign(stated, story.identities["south"]), "north")
    assert refusal.value.code == "TW3604"
    foreign = verify.Checkpoint(
        checkpoint.network_origin(bytes(32)), stated.size, stated.root, stated.topics, stated.block
    )
    with pytest.raises(UsageError) as refused:
        story.cosigned(checkpoint.sign(foreign, story.identities["coordinator"]), "north")
    assert refused.value.code == "TW3603"
