"""A sample of a run's patients: drawn by the auditor, opened by the hospital; what it catches."""

import hashlib

import pytest

from consent.letters import reference_of
from hospital_node.audit_log import NodeAudit
from ledger import verify
from ledger.audit.log import AuditLog
from ledger.questions import sample, sample_check
from ledger.questions.sample import Answered
from tests.simulators.consent.world import STUDY, Hospital, Patient
from tests.simulators.finished_run import found
from tests.simulators.ledger.story import Story
from twinward import canonical
from twinward.errors import EvidenceError, UsageError
from twinward.signing import Identity

RUN, SEED = bytes(31) + b"\x07", "4 6 1 1 3 5 2"
CLEVELAND = "cleveland"


class Site:
    """A hospital with letters, answers, a run, and the ledger as an auditor has it."""

    def __init__(self, folder):
        identities = {n: Identity.generate() for n in ("coordinator", CLEVELAND, "south", "east")}
        self.founding, self.world = found(identities), Hospital(folder, patients=8)
        self.story = Story(self.founding)
        (folder / "audit").mkdir()
        log = AuditLog(
            folder / "audit",
            org=CLEVELAND,
            genesis=bytes.fromhex(self.founding.chain["genesis_hash"]),
            identity=identities[CLEVELAND],
            clock=self.world.clock,
        )
        self.audit = NodeAudit(log, clock=self.world.clock)
        self.cohort = self.world.cohort(note=lambda decided: self.audit.decided(STUDY, decided))

    def invites(self, numbers):
        patients = [Patient(self.world, number) for number in numbers]
        letters = [(one.record, reference_of(one.letter.code)) for one in patients]
        self.audit.invited(letters, study=STUDY.id32)
        return patients

    def takes(self, patients, *, on_ledger=True):
        """The answers of these patients, at the hospital and on the ledger."""
        for patient in patients:
            patient.grants()
        self.world.push()
        for patient in patients if on_ledger else ():
            kept = self.world.vault.newest(STUDY.id32, patient.record)
            self.tell(patient.subject, kept.digest, kept.grant.expiry)

    def tell(self, subject, digest, expiry):
        relay = self.story.number(CLEVELAND)
        self.story.sequence += 1
        slot = 5 << 128 | expiry << 64 | 1 << 32 | relay << 16 | 1
        self.story.tell(
            "Consent.ConsentChanged", study=STUDY.id32, subject=subject, digest=digest,
            sequence=self.story.sequence, slot=slot,
        )  # fmt: skip

    def runs(self):
        self.cohort.mask()
        records = [
            r for r, used in zip(self.world.records, self.cohort.mask(), strict=True) if used
        ]
        self.audit.used(records, study=STUDY.name, run=RUN.hex(), to="coordinator")
        plan = self.story.study().plan(approved_by=())
        self.story.study().run(plan, (CLEVELAND,), run=RUN)
        return len(records)

    def answered(self, digest):
        kept = self.world.vault.by_digest(digest)
        return None if kept is None else Answered(kept.subject, kept.grade)

    def draw(self, *, count=2, seed=SEED, answered=None):
        return sample.build(
            self.audit.log, founding=self.founding, run=RUN.hex(), seed=seed, count=count,
            answered=answered or self.answered, anchored=False,
        )  # fmt: skip

    def check(self, data, *, seed=SEED):
        return sample_check.check(
            data, founding=self.founding, seed=seed, history=self.story.history
        )

    def close(self):
        self.audit.close()
        self.world.vault.store.close()


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.close()


def findings(checked):
    return {finding for one in checked.drawn for finding in one.findings}


def test_patients_who_answered_their_letter_are_opened_and_nobody_else(site):
    patients = site.invites(range(4))
    site.takes(patients)
    assert site.runs() == 4
    data = site.draw(count=2)
    checked = site.check(data)
    assert (checked.patients, len(checked.drawn), checked.findings) == (4, 2, 0)
    letters = {one.record: reference_of(one.letter.code) for one in patients}
    for one in checked.drawn:
        assert one.letters == (letters[one.record],)
        assert one.since is not None
    drawn = {one.record for one in checked.drawn}
    records, _ = verify.read_archive(data)
    for record in letters:
        shown = any(f'"{record}"'.encode() in content for content in records.values())
        assert shown == (record in drawn)
    assert "ask the patient" in sample_check.as_text(checked)
    assert sample_check.as_json(checked)["with_findings"] == 0


def test_another_seed_draws_others_and_no_hospital_can_choose(site):
    site.takes(site.invites(range(5)))
    site.runs()
    drawn = {
        seed: {one.record for one in site.check(site.draw(seed=seed), seed=seed).drawn}
        for seed in (SEED, *(f"seed number {n}" for n in range(24)))
    }
    assert len({frozenset(pair) for pair in drawn.values()}) > 3  # of 10 pairs, 25 times drawn
    data = site.draw(seed=next(seed for seed in drawn if drawn[seed] != drawn[SEED]))
    with pytest.raises(EvidenceError) as refused:
        site.check(data)
    assert refused.value.code == "TW3751"
    records, _ = verify.read_archive(data)
    said = {**canonical.decode(records[sample.RECORD]), "seed": SEED}
    relabelled = verify.write_archive({**records, sample.RECORD: canonical.encode(said)})
    with pytest.raises(EvidenceError) as refused:  # its patients are not those that the seed draws
        site.check(relabelled)
    assert refused.value.code == "TW3751"


def test_a_key_that_the_hospital_enrolled_itself_has_no_letter(site):
    site.takes([Patient(site.world, number) for number in range(3)])
    site.runs()
    assert findings(site.check(site.draw(count=3))) == {sample_check.NO_LETTER}


def test_a_letter_that_is_entered_afterwards_does_not_count(site):
    patients = [Patient(site.world, number) for number in range(3)]
    site.takes(patients)
    site.runs()
    letters = [(one.record, reference_of(one.letter.code)) for one in patients]
    site.audit.invited(letters, study=STUDY.id32)
    assert findings(site.check(site.draw(count=3))) == {sample_check.NO_LETTER}


def test_an_answer_that_staff_took_down_is_told_as_that(site):
    patients = [Patient(site.world, number) for number in range(2)]
    for one in patients:
        site.audit.attested(one.record, what="grant-attested", study=STUDY.id32, staff="ana")
    site.takes(patients)
    site.runs()
    checked = site.check(site.draw())
    assert checked.findings == 0
    assert all(one.letters == () for one in checked.drawn)


def test_an_answer_that_never_came_to_the_ledger_is_found(site):
    site.takes(site.invites(range(2)), on_ledger=False)
    site.runs()
    assert findings(site.check(site.draw())) == {sample_check.NOT_ON_LEDGER}


def test_a_pseudonym_that_is_somebody_elses_is_found(site):
    patients = site.invites(range(2))
    site.takes(patients)
    stranger = hashlib.sha256(b"stranger").digest()
    site.tell(stranger[:20], stranger, 2**40)
    site.runs()
    lying = site.draw(answered=lambda _: Answered(stranger[:20], "device"))
    assert findings(site.check(lying)) == {sample_check.NOT_ON_LEDGER}
    silent = site.draw(answered=lambda _: None)
    assert findings(site.check(silent)) == {sample_check.NOT_OPENED, sample_check.NOT_ON_LEDGER}


def test_a_use_without_a_decision_is_found(site):
    patients = site.invites(range(2))
    site.takes(patients)
    site.runs()
    extra = site.world.records[7]
    site.audit.used([extra], study=STUDY.name, run=RUN.hex(), to="coordinator")
    checked = site.check(site.draw(count=3))
    assert [one.record for one in checked.drawn if one.findings] == [extra]
    assert findings(checked) == {sample_check.NO_DECISION}


def test_who_was_erased_since_can_be_drawn_and_is_nobody(site):
    patients = site.invites(range(2))
    site.takes(patients)
    site.runs()
    site.audit.log.erase(str(patients[0].record))
    checked = site.check(site.draw(count=2))
    assert {one.record for one in checked.drawn} == {None, patients[1].record}
    assert checked.findings == 0
    assert "erased since" in sample_check.as_text(checked)


def test_a_run_that_this_hospital_was_not_in_has_no_sample(site):
    with pytest.raises(UsageError) as refused:
        site.draw()
    assert refused.value.code == "TW3750"


def test_an_entry_left_out_is_refused(site):
    site.takes(site.invites(range(3)))
    site.runs()
    records, _ = verify.read_archive(site.draw())
    cut = {
        name: b"".join(records[name].splitlines(keepends=True)[:-1])
        for name in ("leaves.txt", "bodies.txt")
    }
    with pytest.raises(EvidenceError) as refused:
        site.check(verify.write_archive({**records, **cut}))
    assert refused.value.code == "TW3721"


@pytest.mark.parametrize(
    "lie",
    [
        {"run": "none"},
        {"count": "2"},
        {"answers": []},
        {"answers": {"patient:x": {"subject": "zz", "grade": "device"}}},
        {"answers": {"patient:x": {"grade": "device"}}},
        {"seed": 7},
    ],
)
def test_a_malformed_sample_is_refused_by_name(site, lie):
    site.takes(site.invites(range(2)))
    site.runs()
    records, _ = verify.read_archive(site.draw())
    said = {**canonical.decode(records[sample.RECORD]), **lie}
    with pytest.raises(EvidenceError) as refused:
        site.check(verify.write_archive({**records, sample.RECORD: canonical.encode(said)}))
    assert refused.value.code == "TW3751"
