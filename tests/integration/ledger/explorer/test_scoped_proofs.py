"""Proofs for an auditor of one study: all that they may see, and nothing of another study."""

import json
from dataclasses import replace

import pytest

from ledger import verify
from ledger.history import History
from ledger.questions import proof
from ledger.questions.scope import in_scope
from ledger.questions.sources import Sources
from tests.integration.ledger.explorer.conftest import let_in
from tests.simulators.explorer.world import HEART, SLEEP
from twinward import canonical
from twinward.errors import EvidenceError, LedgerError, UsageError


@pytest.fixture
def scoped(explorer, stranger):
    let_in(explorer, stranger, studies=[HEART])
    return stranger


def asked(world, subject):
    """Every question that has something to prove here, with its parameters."""
    return {
        "uses": {"subjects": subject},
        "consents-at": {"date": "2026-09-25"},
        "consents-of-model": {"model": world.release.hex()},
        "sites-of-model": {"model": world.release.hex()},
        "refused-grants": {},
        "runs-without-approval": {},
        "privacy-spend": {},
        "key-changes": {},
        "exports": {},
        "in-force": {"date": "2026-09-27"},
        "separation-of-duties": {},
        "staff-attested": {},
        "anchoring-gaps": {},
    }


def proofs(world, visitor, *, subject):
    for name, given in asked(world, subject).items():
        answer = visitor.get(f"/questions/{name}/proof", params=given)
        assert answer.status_code == 200, (name, answer.text)
        yield name, given, answer.content


def test_what_an_auditor_of_one_study_sees_is_proved_and_asked_again(world, scoped):
    subject = world.subjects[HEART][0].hex()
    own = world.founding.document.encode()
    for name, given, data in proofs(world, scoped, subject=subject):
        answer = proof.recheck(data, founding=own)
        page = scoped.get(f"/questions/{name}.json", params=given).json()["answer"]
        assert answer.scope == (HEART,)
        assert answer.as_json()["rows"] == page["rows"], name
        assert HEART in answer.headline
        assert f"/questions/{name}/proof" in scoped.get(f"/questions/{name}", params=given).text


def test_a_proof_shows_nothing_of_another_study(world, scoped):
    digest, number = world.studies[SLEEP]
    secrets = [SLEEP, digest.hex(), number.hex(), world.sleep_plan.hex()]
    secrets += [subject.hex() for subject in world.subjects[SLEEP]]
    heart = {world.studies[HEART][0]: world.studies[HEART][1]}
    visible = {event.number - 1 for event in in_scope(world.events, studies=heart)}
    assert len(visible) < len(world.events)
    for name, _, data in proofs(world, scoped, subject=world.subjects[HEART][1].hex()):
        records, _ = verify.read_archive(data)
        for record, content in records.items():
            found = [each for each in secrets if each.encode() in content]
            assert not found, (name, record)
        leaves = [json.loads(leaf) for leaf in records["leaves.txt"].splitlines()]
        assert {leaf["seq"] for leaf in leaves} <= visible, name
        proven = {one["topic"] for one in json.loads(records[verify.ANSWER])["topics"]}
        assert not [topic for topic in proven if topic.startswith("kind:Consent")], name


def test_a_subject_of_another_study_looks_like_one_that_never_was(world, scoped):
    theirs, nobodys = world.subjects[SLEEP][0].hex(), "ab" * 20
    said = []
    for subject in (theirs, nobodys):
        data = scoped.get(f"/questions/uses/proof?subjects={subject}").content
        assert subject.encode() in data  # as it was asked
        said.append(data.replace(subject.encode(), b"-" * 40))
    records = [verify.read_archive(one.replace(b"-" * 40, b"cd" * 20))[0] for one in said]
    assert records[0] == records[1]


def test_another_study_cannot_be_asked_for_by_name_or_digest(world, scoped):
    answer = scoped.get(f"/questions/consents-at/proof?date=2026-09-25&study={SLEEP}")
    assert answer.status_code == 400
    assert "TW3711" in answer.text
    _, number = world.studies[SLEEP]
    data = scoped.get(f"/questions/consents-at/proof?date=2026-09-25&study={number.hex()}").content
    assert proof.recheck(data).rows == ()


def test_a_topic_left_out_of_a_scoped_proof_is_refused(world, scoped):
    data = scoped.get("/questions/consents-at/proof?date=2026-09-25").content
    records, _ = verify.read_archive(data)
    lying = canonical.decode(records[verify.ANSWER])
    lying["question"]["scope"] = []
    with pytest.raises(EvidenceError) as refusal:
        proof.recheck(verify.write_archive({**records, verify.ANSWER: canonical.encode(lying)}))
    assert refusal.value.code == "TW3722"
    hidden = {n: d for n, d in records.items() if not n.startswith(proof.DOCUMENTS)}
    with pytest.raises(UsageError) as unknown:
        proof.recheck(verify.write_archive(hidden))
    assert unknown.value.code == "TW3720"


def test_events_that_slip_out_of_scope_are_not_given_out(world, explorer):
    """Were a view narrower than the topics that prove it, there would be no proof at all."""
    heart = {world.studies[HEART][0]: world.studies[HEART][1]}
    events = [replace(one) for one in in_scope(world.events, studies=heart)]
    short = History.of(events[:-1], genesis=world.genesis, block=events[-1].block, time=0)
    papers = explorer.source.papers
    narrowed = Sources(short, founding=papers.founding, documents=papers.documents, scope=(HEART,))
    with pytest.raises(LedgerError) as refusal:
        explorer.source.prove("anchoring-gaps", {}, narrowed=narrowed)
    assert refusal.value.code == "TW3623"
