"""Each question against a past in which the right answer is known."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ledger.consents import fold
from ledger.events import form
from ledger.provenance import Kind
from ledger.questions.documents import Documents, Pack, Vector
from ledger.questions.library import ask, library
from ledger.questions.sources import Sources
from tests.simulators.ledger.story import DAY, HOSPITALS, START, Story, account, pseudonym
from twinward.errors import UsageError


def rows(answer, *columns):
    names = [column.name for column in answer.question.columns]
    picked = [names.index(column) for column in columns]
    return [tuple(row.cells[place] for place in picked) for row in answer.rows]


@pytest.fixture
def story():
    return Story()


@pytest.fixture
def study(story):
    return story.study()


def test_uses_are_exactly_the_runs_that_overlap_a_permission_at_its_hospital(story, study):
    story.consent(study, "ann", "bern")
    plan = study.plan()
    first = study.run(plan)
    model = study.release(plan)
    story.withdraw(study, "ann", "bern")
    second = study.run(plan)
    study.release(plan)
    story.consent(study, "ann", "bern")
    third = study.run(plan)
    asked = {"subjects": f"0x{pseudonym('ann').hex()}"}
    answer = ask("uses", asked, sources=story.sources())
    assert rows(answer, "run", "hospital", "study", "model") == [
        (first.hex(), "hospital 2", "heart", model.raw("digest").hex()),
        (third.hex(), "hospital 2", "heart", None),
    ]
    assert second.hex() not in str(answer.as_json()["rows"])
    for row in answer.rows:
        kinds = [story.events[number - 1].kind for number in row.evidence]
        assert kinds[0] == "Consent.ConsentChanged"
        assert "Provenance.Reserved" in kinds


def test_a_withdrawal_in_the_middle_of_a_run_still_shows_that_run(story, study):
    story.consent(study, "ann", "bern")
    plan = study.plan()
    run = study.run(plan)
    story.withdraw(study, "ann", "bern")
    study.release(plan)
    asked = {"subjects": pseudonym("ann").hex()}
    assert rows(ask("uses", asked, sources=story.sources()), "run") == [(run.hex(),)]


def test_an_evaluation_is_a_use_of_its_own_and_ends_with_the_model(story, study):
    story.consent(study, "ann", "bern")
    plan = study.plan()
    run = study.run(plan)
    study.evaluation(plan, run)
    study.release(plan)
    asked = {"subjects": pseudonym("ann").hex()}
    found = rows(ask("uses", asked, sources=story.sources()), "activity")
    assert found == [("training a model",), ("measuring a model",)]


def test_uses_of_another_hospital_another_study_or_an_ended_permission_are_not_listed(story, study):
    other = story.study("lungs", salt="1b" * 32)
    story.consent(study, "ann", "chur", days=2)
    story.time += 3 * DAY
    plan = study.plan()
    study.run(plan)
    study.release(plan)
    story.consent(study, "bob", "chur")
    study.run(plan, ["bern", "genf"])
    study.run(other.plan())
    for name in ("ann", "bob"):
        asked = {"subjects": pseudonym(name).hex()}
        assert ask("uses", asked, sources=story.sources()).rows == ()


def test_uses_are_cut_to_the_time_asked_for(story, study):
    story.consent(study, "ann", "bern")
    plan = study.plan()
    early = study.run(plan)
    study.release(plan)
    story.time += 10 * DAY
    late = study.run(plan)
    study.release(plan)
    asked = {"subjects": pseudonym("ann").hex()}
    day = datetime.fromtimestamp(START + 5 * DAY, UTC)
    cut = {**asked, "since": day.strftime("%Y-%m-%d")}
    assert rows(ask("uses", cut, sources=story.sources()), "run") == [(late.hex(),)]
    cut = {**asked, "until": day.strftime("%Y-%m-%d")}
    assert rows(ask("uses", cut, sources=story.sources()), "run") == [(early.hex(),)]


def test_without_the_study_documents_there_is_no_source_and_no_empty_table(story, study):
    story.consent(study, "ann", "bern")
    study.run(study.plan())
    answer = ask("uses", {"subjects": pseudonym("ann").hex()}, sources=Sources(story.history))
    assert answer.status == "no-source"
    assert "documents" in answer.headline
    assert answer.verdict is None


def test_runs_without_approval_pass_fail_and_name_the_late_one(story, study):
    plan = study.plan(approved_by=["bern", "chur"])
    study.run(plan, ["bern", "chur"])
    assert ask("runs-without-approval", {}, sources=story.sources()).verdict == "PASS"
    run = study.run(plan, ["genf"])
    late = story.approve(plan, "genf")
    answer = ask("runs-without-approval", {}, sources=story.sources())
    assert answer.verdict == "FAIL"
    assert rows(answer, "hospital", "run") == [("hospital 4", run.hex())]
    assert late.number in answer.rows[0].evidence


def test_who_approves_their_own_submission_fails_separation_of_duties(story, study):
    study.plan()
    assert ask("separation-of-duties", {}, sources=story.sources()).verdict == "PASS"
    own = study.plan(approved_by=["bern", "chur"], by="chur")
    answer = ask("separation-of-duties", {}, sources=story.sources())
    assert answer.verdict == "FAIL"
    assert rows(answer, "member", "kind", "digest") == [("hospital 3", "plan", own.hex())]


def test_privacy_spend_adds_up_per_study_and_over_all(story, study):
    other = story.study("lungs", salt="1b" * 32)
    study.run(study.plan(), ["bern", "chur", "genf"], micro_mu2=60_000)
    other.run(other.plan(), ["bern"], micro_mu2=10_000)
    answer = ask("privacy-spend", {"member": "2"}, sources=story.sources())
    assert rows(answer, "study", "runs", "mu2") == [
        ("heart", 1, 0.06),
        ("lungs", 1, 0.01),
        ("all studies", 2, 0.07),
    ]
    (epsilon,) = {row[0] for row in rows(answer, "epsilon")[2:]}
    assert 0.9 < epsilon < 1.1
    assert len(ask("privacy-spend", {}, sources=story.sources()).rows) == 5


def test_consents_of_a_model_are_those_in_force_at_its_hospitals(story, study):
    for name in ("ann", "bob", "eve"):
        story.consent(study, name, "bern")
    story.withdraw(study, "bob", "bern")
    story.consent(study, "dan", "genf")
    plan = study.plan()
    study.run(plan, ["bern", "chur"])
    model = study.release(plan).raw("digest").hex()
    answer = ask("consents-of-model", {"model": model}, sources=story.sources())
    assert {row[0] for row in rows(answer, "subject")} == {
        f"0x{pseudonym(name).hex()}" for name in ("ann", "eve")
    }
    sites = ask("sites-of-model", {"model": model}, sources=story.sources())
    assert rows(sites, "hospital", "consents") == [("hospital 2", 2), ("hospital 3", 0)]
    unknown = ask("sites-of-model", {"model": "00" * 32}, sources=story.sources())
    assert "No model" in unknown.summary


def test_a_model_belongs_to_the_newest_run_of_its_plan(story, study):
    plan = study.plan()
    study.run(plan)
    second = study.run(plan, ["bern", "chur"])
    model = study.release(plan).raw("digest").hex()
    answer = ask("sites-of-model", {"model": model}, sources=story.sources())
    assert {row[0] for row in rows(answer, "run")} == {second.hex()}


def test_consents_at_any_date(story, study):
    story.consent(study, "ann", "bern", days=30)
    story.consent(study, "bob", "bern")
    story.time += 5 * DAY
    story.withdraw(study, "bob", "bern")
    story.consent(study, "eve", "chur")
    story.time += 40 * DAY
    story.tell("Provenance.FenceRaised", by=account("bern"), fence=1)
    states = {}
    for days in (1, 6, 42):
        moment = datetime.fromtimestamp(START + days * DAY, UTC)
        answer = ask(
            "consents-at",
            {"date": moment.strftime("%Y-%m-%dT%H:%M:%S"), "study": "heart"},
            sources=story.sources(),
        )
        states[days] = rows(answer, "hospital", "in_force", "withdrawn", "expired")
    assert states == {
        1: [("hospital 2", 2, 0, 0)],
        6: [("hospital 2", 1, 1, 0), ("hospital 3", 1, 0, 0)],
        42: [("hospital 2", 0, 1, 1), ("hospital 3", 1, 0, 0)],
    }
    late = ask("consents-at", {"date": "2099-01-01"}, sources=story.sources())
    assert late.status == "no-source"


def test_the_share_of_attested_withdrawals_per_hospital(story, study):
    for name in ("ann", "bob", "eve"):
        story.consent(study, name, "bern")
    story.withdraw(study, "ann", "bern", flags=2)
    story.consent(study, "dan", "genf")
    story.withdraw(study, "dan", "genf")
    answer = ask("staff-attested", {}, sources=story.sources())
    assert rows(answer, "hospital", "attested", "share") == [
        ("hospital 2", 1, 25.0),
        ("hospital 4", 0, 0.0),
    ]
    assert any("audit log" in remark for remark in answer.remarks)


def test_refused_grants_name_the_rule(story):
    story.tell("Consent.Skipped", digest=b"\x01" * 32, reason=8)
    answer = ask("refused-grants", {}, sources=story.sources())
    assert rows(answer, "digest", "rule") == [("01" * 32, "BadSignature")]


def test_what_was_in_force_on_a_day(story, study):
    plan = study.plan(approved_by=["bern"])
    story.time += 2 * DAY
    newer = study.plan()
    story.approve(plan, "genf")
    moment = datetime.fromtimestamp(START + DAY, UTC).isoformat()
    answer = ask("in-force", {"date": moment}, sources=story.sources())
    assert rows(answer, "kind", "study", "digest", "approved") == [
        ("study", "heart", study.digest.hex(), ""),
        ("plan", "heart", plan.hex(), "hospital 2"),
    ]
    assert newer.hex() not in str(answer.as_json())


def test_changes_of_members_and_their_processes(story):
    story.tell("Provenance.FenceRaised", by=account("chur"), fence=1)
    answer = ask("key-changes", {}, sources=story.sources())
    assert len(answer.rows) == 1 + len(HOSPITALS) + 1
    only = ask("key-changes", {"member": "hospital 3"}, sources=story.sources())
    assert rows(only, "what") == [("joined",), ("new process started",)]


def test_code_is_without_source_until_it_is_on_the_ledger(story):
    assert ask("code-approved", {}, sources=story.sources()).status == "no-source"
    story.record(b"\x0c" * 32, Kind.CODE)
    assert ask("code-approved", {}, sources=story.sources()).rows


class Vectors:
    """What packs say of a story: who sent a vector under which running hash of consents."""

    def __init__(self, story):
        self.story, self.packs = story, []

    def head(self, after):
        """The running hash after so many changes."""
        head = bytes(32)
        changes = [e for e in self.story.events if e.name == "ConsentChanged"]
        for event in changes[:after]:
            values = event.values
            packed = values["slot"].to_bytes(32, "big")
            head = fold(
                head,
                study=values["study"],
                subject=values["subject"],
                packed=packed,
                digest=values["digest"],
            )
        return head

    def pack(self, run, plan, sent):
        vectors = [
            Vector(self.story.identity(name), step, head) for step, (name, head) in enumerate(sent)
        ]
        self.packs.append(Pack(run, plan, b"\x00" * 32, tuple(vectors)))

    def ask(self, **given):
        known = Documents.of(self.story.documents)
        documents = replace(known, packs=tuple(self.packs))
        sources = self.story.sources(documents=documents)
        return ask("uses-after-withdrawal", given, sources=sources)


@pytest.fixture
def vectors(story, study):
    """ann and bob permit, ann withdraws an hour before a run of all hospitals."""
    story.consent(study, "ann", "bern")
    story.consent(study, "bob", "chur")
    story.withdraw(study, "ann", "bern")
    story.time += 3_600
    vectors = Vectors(story)
    vectors.plan = study.plan()
    vectors.run = study.run(vectors.plan)
    study.release(vectors.plan)
    return vectors


def test_vectors_that_had_seen_every_withdrawal_pass(vectors):
    head = vectors.head(3)
    vectors.pack(vectors.run, vectors.plan, [(name, head) for name in HOSPITALS])
    answer = vectors.ask()
    assert answer.verdict == "PASS"
    assert "1 withdrawal of 1" in answer.summary


def test_a_vector_that_had_not_taken_in_a_withdrawal_fails(vectors):
    new, old = vectors.head(3), vectors.head(2)
    vectors.pack(vectors.run, vectors.plan, [("bern", new), ("chur", old), ("bern", old)])
    answer = vectors.ask()
    assert answer.verdict == "FAIL"
    assert rows(answer, "hospital", "step", "subject") == [
        ("hospital 2", 2, f"0x{pseudonym('ann').hex()}")
    ]


def test_a_withdrawal_younger_than_the_grace_is_not_held_against_a_hospital(vectors):
    vectors.pack(vectors.run, vectors.plan, [("bern", vectors.head(2))])
    assert vectors.ask(grace="7200").verdict == "PASS"
    assert vectors.ask(grace="600").verdict == "FAIL"


def test_a_head_that_the_ledger_never_had_fails(vectors):
    vectors.pack(vectors.run, vectors.plan, [("chur", b"\x07" * 32)])
    answer = vectors.ask()
    assert answer.verdict == "FAIL"
    assert rows(answer, "hospital", "head", "subject") == [("hospital 3", "07" * 32, None)]


def test_without_every_pack_nothing_passes(vectors, story, study):
    assert vectors.ask().status == "no-source"
    vectors.pack(vectors.run, vectors.plan, [("bern", vectors.head(3))])
    study.run(vectors.plan)
    study.release(vectors.plan)
    answer = vectors.ask()
    assert (answer.verdict, answer.rows) == ("OPEN", ())
    assert "OPEN" in answer.as_text()


@pytest.mark.skipif(form("Provenance.CapStated") is None, reason="no contract for limits yet")
def test_privacy_spend_against_the_limit_that_holds(story, study):
    for micro, later in ((100_000, 0), (900_000, 90 * DAY)):
        values = {"hospital": account("bern"), "microMu2": micro, "holdsFrom": story.time + later}
        story.tell("Provenance.CapStated", **values)
    study.run(study.plan(), ["bern", "chur"], micro_mu2=60_000)
    answer = ask("privacy-spend", {}, sources=story.sources())
    assert rows(answer, "hospital", "limit", "used") == [
        ("hospital 2", 0.1, 60.0),
        ("hospital 3", None, None),
    ]


def anchored(story, name, hour):
    story.time = START + hour * 3600
    number = story.number(name)
    story.tell("AuditAnchor.Anchored", number=number, size=hour, root=bytes(32), time=story.time)


@pytest.mark.skipif(form("AuditAnchor.Anchored") is None, reason="no contract for anchors yet")
def test_gaps_between_anchors(story):
    assert ask("anchoring-gaps", {}, sources=story.sources()).status == "no-source"
    for hour in (1, 20, 60, 70):
        for name in ("coordinator", "bern", "chur"):
            if (name, hour) != ("chur", 70):
                anchored(story, name, hour)
    answer = ask("anchoring-gaps", {"hours": "30"}, sources=story.sources())
    assert answer.verdict == "FAIL"
    assert rows(answer, "member", "hours") == [
        ("coordinator 1", 40.0),
        ("hospital 2", 40.0),
        ("hospital 3", 40.0),
        ("hospital 4", None),
    ]
    assert len(ask("anchoring-gaps", {"hours": "9"}, sources=story.sources()).rows) == 10


@pytest.mark.parametrize(
    "name",
    ["overrides", "admin-acts", "overridden-inferences", "withdrawal-delays", "denied-decisions"],
)
def test_what_the_ledger_does_not_record_is_said_and_never_an_empty_table(story, name):
    answer = ask(name, {}, sources=story.sources())
    assert (answer.status, answer.verdict) == ("no-source", None)
    assert "come" in answer.missing or "will" in answer.missing
    for written in (answer.as_text(), answer.as_html(), answer.as_csv()):
        assert answer.missing.split("'")[0][:20] in written.replace("&#x27;", "'")
    assert "<table" not in answer.as_html()


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("uses", {}),
        ("uses", {"subjects": "ann"}),
        ("uses", {"subjects": "ab" * 20, "since": "yesterday"}),
        ("uses", {"subjects": "ab" * 20, "patient": "ann"}),
        ("consents-at", {"date": "2026-01-01", "study": "no-such-study"}),
        ("privacy-spend", {"member": "nobody"}),
        ("privacy-spend", {"delta": "nan"}),
        ("anchoring-gaps", {"hours": "-1"}),
        ("no-such-question", {}),
    ],
)
def test_parameters_that_cannot_be_read_are_refused(story, name, given):
    with pytest.raises(UsageError) as refusal:
        ask(name, given, sources=story.sources())
    assert refusal.value.code in {"TW3710", "TW3711"}


def test_every_question_has_what_people_need():
    names = [question.id for question in library()]
    assert len(set(names)) == len(names) >= 18
    for question in library():
        assert question.title.endswith("?")
        assert question.why.endswith(".")
        assert all(
            (column.release == "node") == (question.entries is not None)
            and column.release in {"public", "members", "node"}
            for column in question.columns
        )
