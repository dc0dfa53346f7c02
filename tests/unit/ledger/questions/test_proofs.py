"""A proven answer can be asked again from its file alone; whoever tampers with it is caught."""

import random

import pytest

from ledger import verify
from ledger.history import History
from ledger.log import checkpoint
from ledger.log.network import NetworkLog
from ledger.log.store import Log
from ledger.questions import proof
from ledger.questions.library import ask, library
from ledger.questions.sources import Sources
from tests.simulators.finished_run import found
from tests.simulators.ledger.story import DAY, Story, pseudonym
from twinward import canonical
from twinward.errors import EvidenceError, UsageError
from twinward.signing import Identity

ORGS = ("coordinator", "bern", "chur", "genf")


@pytest.fixture(scope="module")
def identities():
    return {org: Identity.generate() for org in ORGS}


@pytest.fixture(scope="module")
def founding(identities):
    return found(identities)


class Proven:
    """A story, the log over it, and a checkpoint that the coordinator signed."""

    def __init__(self, story, path, identities):
        self.story, self.founding = story, story.founding
        self.log = Log(path, origin=checkpoint.network_origin(story.genesis))
        NetworkLog(self.log).extend(story.events)
        block = (story.events[-1].block, b"\xb1" * 32)
        stated = checkpoint.checkpoint_of(self.log.origin, self.log.seal(), block=block)
        self.note = checkpoint.sign(stated, identities["coordinator"])

    def prove(self, name, given):
        return proof.prove(
            name, given, sources=self.story.sources(), log=self.log, checkpoint=self.note
        )


def busy(founding, seed=1):
    """A past with a bit of everything, different for each seed."""
    rng = random.Random(seed)
    story = Story(founding)
    studies = [story.study("heart"), story.study("lungs", salt="1b" * 32)]
    plans = {one.name: one.plan(approved_by=rng.sample(story.hospitals, 2)) for one in studies}
    for turn in range(40):
        study, hospital = rng.choice(studies), rng.choice(story.hospitals)
        act = rng.random()
        if act < 0.5:
            story.consent(study, f"p{turn}", hospital, days=rng.choice([2, 30, 400]))
        elif act < 0.7:
            story.withdraw(study, f"p{rng.randrange(turn + 1)}", hospital, flags=rng.choice([1, 2]))
        elif act < 0.85:
            study.run(plans[study.name], rng.sample(story.hospitals, 3))
        elif act < 0.95:
            study.release(plans[study.name])
        else:
            story.tell("Consent.Skipped", digest=rng.randbytes(32), reason=rng.randrange(1, 9))
        story.time += rng.randrange(DAY)
    return story


def parameters(story):
    """Something to ask each question with."""
    models = [e for e in story.events if e.values.get("kind") == 5]
    model = models[-1].values["digest"].hex() if models else "00" * 32
    subjects = ",".join(pseudonym(f"p{n}").hex() for n in range(12))
    day = "2026-10-01"
    return {
        "uses": {"subjects": subjects, "since": "2020-01-01"},
        "consents-of-model": {"model": model},
        "sites-of-model": {"model": model},
        "privacy-spend": {"member": "chur"},
        "in-force": {"date": day},
        "consents-at": {"date": day, "study": "heart"},
        "staff-attested": {"study": "lungs"},
        "key-changes": {"member": "bern"},
    }


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_answer_rests_on_its_topics_alone_and_can_be_asked_again(
    founding, identities, tmp_path, seed
):
    proven = Proven(busy(founding, seed), tmp_path / "log", identities)
    proved = 0
    for question in library():
        given = parameters(proven.story).get(question.id, {})
        whole = ask(question.id, given, sources=proven.story.sources())
        if whole.missing:
            with pytest.raises(UsageError) as refusal:
                proven.prove(question.id, given)
            assert refusal.value.code == "TW3720"
            continue
        answer, data = proven.prove(question.id, given)
        assert answer.as_json() == whole.as_json()
        report = verify.verify_bytes(data, founding=founding.document.encode())
        assert report.ok, report.faults
        again = proof.recheck(data, founding=founding.document.encode())
        assert again.as_json() == whole.as_json()
        proved += 1
    assert proved >= 12


@pytest.fixture
def proven(founding, identities, tmp_path):
    story = Story(founding)
    study = story.study()
    for name in ("ann", "bob", "eve"):
        story.consent(study, name, "bern")
    plan = study.plan(approved_by=["bern", "chur"])
    study.run(plan, ["bern", "chur", "genf"])
    return Proven(story, tmp_path / "log", identities)


def changed(data, name, change):
    """The archive with one record rewritten, in its only form."""
    records, _ = verify.read_archive(data)
    records[name] = change(records[name])
    return verify.write_archive(records)


def refused(data, *codes):
    with pytest.raises(EvidenceError) as refusal:
        proof.recheck(data)
    assert refusal.value.code in codes
    return refusal.value.diagnostic.note


def test_a_violation_taken_out_of_the_table_is_seen(proven):
    answer, data = proven.prove("runs-without-approval", {})
    assert answer.verdict == "FAIL"

    def whitewash(table):
        value = canonical.decode(table)
        value.update(rows=[], evidence=[], verdict="PASS")
        return canonical.encode(value)

    refused(changed(data, proof.TABLE, whitewash), "TW3722")


def without_entry(data, row):
    """The archive without one of its events, with everything else adjusted."""
    records, _ = verify.read_archive(data)
    for name in ("leaves.txt", "bodies.txt"):
        lines = records[name].splitlines(keepends=True)
        records[name] = b"".join(lines[:row] + lines[row + 1 :])
    about = canonical.decode(records[verify.ANSWER])
    del about["rows"][row]
    records[verify.ANSWER] = canonical.encode(about)
    return verify.write_archive(records)


def test_an_event_that_is_kept_back_is_seen(proven):
    _, data = proven.prove("runs-without-approval", {})
    records, _ = verify.read_archive(data)
    rows = canonical.decode(records[verify.ANSWER])["rows"]
    for row in range(len(rows)):
        assert refused(without_entry(data, row), "TW3721").startswith("V11")


def test_the_last_event_cut_off_with_its_proof_is_seen(proven):
    """A truncated answer whose inclusion proof is honest for what is left."""
    _, data = proven.prove("consents-at", {"date": "2026-09-21T00:13"})
    records, _ = verify.read_archive(data)
    about = canonical.decode(records[verify.ANSWER])
    kept = about["rows"][:-1]
    size = verify.Checkpoint.parse(proven.note.text).size
    about |= {"rows": kept, "nodes": [n.hex() for n in proven.log.rows_proof(kept, size=size)]}
    records[verify.ANSWER] = canonical.encode(about)
    for name in ("leaves.txt", "bodies.txt"):
        records[name] = b"".join(records[name].splitlines(keepends=True)[:-1])
    assert refused(verify.write_archive(records), "TW3721") == "V116"


def test_an_answer_proved_over_fewer_topics_than_its_question_needs_is_refused(proven):
    """Honest proofs, honest table for what they show: but approvals were left out."""
    from ledger.log import answer as archives
    from ledger.log.network import body_of

    question, story = "separation-of-duties", proven.story
    story.approve(story.events[6].values["digest"], "bern")
    topics = ("kind:Membership.Joined", "kind:Provenance.Recorded")
    kinds = {topic.partition(":")[2] for topic in topics}
    events = [e for e in story.events[: proven.log.size] if e.kind in kinds]
    last = events[-1]
    partial = Sources(
        History.of(events, genesis=story.genesis, block=story.events[-2].block, time=last.time),
        founding=proven.founding,
        documents=story.sources().documents,
    )
    bodies = {e.number - 1: (e.transaction, body_of(e)) for e in events}
    data = archives.build(
        proven.log,
        checkpoint=proven.note,
        topics=topics,
        body=bodies.get,
        question={"id": question, "parameters": {}},
        shown={
            proof.TABLE: canonical.encode(ask(question, {}, sources=partial).as_json()),
            proof.FOUNDING: proven.founding.document.encode(),
        },
    )
    assert verify.verify_bytes(data).ok
    assert refused(data, "TW3722") == "topics are missing"


def test_any_changed_byte_of_an_answer_is_seen(proven):
    _, data = proven.prove("separation-of-duties", {})
    rng = random.Random(4)
    for place in rng.sample(range(len(data)), 60):
        forged = bytearray(data)
        forged[place] ^= 1 << rng.randrange(8)
        refused(bytes(forged), "TW3721", "TW3722")


def test_another_founding_file_than_the_readers_own_is_seen(proven, identities):
    _, data = proven.prove("separation-of-duties", {})
    other = found({org: Identity.generate() for org in ORGS})
    with pytest.raises(EvidenceError) as refusal:
        proof.recheck(data, founding=other.document.encode())
    assert refusal.value.code == "TW3721"


def test_an_answer_without_a_source_has_nothing_to_prove(proven):
    with pytest.raises(UsageError) as refusal:
        proven.prove("overrides", {})
    assert refusal.value.code == "TW3720"
