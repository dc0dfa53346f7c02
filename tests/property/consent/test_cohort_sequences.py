"""Any order of grants, withdrawals, expiries, outages, crashes and replays: nobody is ever used
without a valid current grant, and nobody who has one is forgotten."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.simulators import postgres
from tests.simulators.consent import world
from tests.simulators.consent.world import DOMAIN, HOSPITAL, STUDY, Hospital, Patient
from twinward import canonical
from twinward.errors import ConsentError, LedgerError

PATIENTS = 3
people = st.integers(0, PATIENTS - 1)


class ConsentOverTime(RuleBasedStateMachine):
    @initialize()
    def open(self):
        self.folder = tempfile.TemporaryDirectory()
        self.hospital = Hospital(Path(self.folder.name), patients=PATIENTS)
        self.patients = [Patient(self.hospital, number) for number in range(PATIENTS)]
        self.granted = [None] * PATIENTS  # what the patient last said yes to
        self.former = []  # whose key was given up
        self.said = []  # every request that the desk ever took
        self.cohort = self.hospital.cohort(snapshot=self.hospital.snapshot)
        self.latest = 0.0

    def teardown(self):
        self.hospital.vault.store.close()
        self.folder.cleanup()

    def _ask(self, patient):
        body = {"code": patient.letter.code.hex(), "study": STUDY.id32.hex()}
        return canonical.decode(self.hospital.desk.show(canonical.encode(body)))["grant"]

    def _refusal(self, body):
        try:
            self.hospital.desk.grant(body)
        except ConsentError as error:
            return error.code
        return None

    @rule(who=people, days=st.integers(1, 12), without=st.sampled_from([(), ("blood pressure",)]))
    def grant(self, who, days, without):
        patient = self.patients[who]
        known = self._ask(patient)
        mine = known is not None and known["subject"] == patient.subject.hex()
        nonce = known["next_nonce"] if mine else 0
        grant = patient.grant(days=days, nonce=nonce, without=without)
        body = patient.body(grant)
        refusal = self._refusal(body)
        assert refusal in {None, "TW3013", "TW3016"}
        if refusal:
            return
        self.granted[who] = grant
        self.said.append(body)

    @rule(who=people)
    def withdraw_by_signature(self, who):
        patient = self.patients[who]
        known = self._ask(patient)
        if known is None or known["subject"] != patient.subject.hex():
            return
        nonce = max(known["next_nonce"], self.granted[who].nonce if self.granted[who] else 0)
        receipt = patient.withdraws(nonce=nonce)
        assert receipt
        self.granted[who] = None

    @rule(who=people, by_code=st.booleans())
    def withdraw_without_key(self, who, by_code):
        patient = self.patients[who]
        if by_code:
            patient.withdraws_by_code()
        else:
            self.hospital.desk.withdraw_record(STUDY.id32, patient.record)
        self.granted[who] = None
        self.former.append(patient)
        self.patients[who] = Patient(self.hospital, who)

    @rule(who=people)
    def somebody_else_relays_a_withdrawal(self, who):
        patient = self.patients[who]
        slot = self.hospital.ledger.slot(STUDY.id32, patient.subject)
        ledger = self.hospital.ledger
        if slot and slot.purposes and ledger.reachable and not ledger.dies_after_taking:
            ledger.attestation(STUDY.id32, patient.subject)
            if self.granted[who] and slot.digest == self.granted[who].digest(DOMAIN):
                self.granted[who] = None

    @rule()
    def push(self):
        lossless = self.hospital.ledger.reachable and not self.hospital.ledger.dies_after_taking
        try:
            self.hospital.push()
        except LedgerError:
            assert not lossless

    @rule()
    def ledger_goes_and_comes(self):
        self.hospital.ledger.reachable = not self.hospital.ledger.reachable

    @rule()
    def next_answer_of_the_ledger_is_lost(self):
        self.hospital.ledger.dies_after_taking = True

    @rule()
    def the_ledger_follows_in_the_end(self):
        ledger = self.hospital.ledger
        ledger.reachable, ledger.dies_after_taking = True, False
        self.hospital.push()
        gone = [p for p, grant in zip(self.patients, self.granted, strict=True) if grant is None]
        for patient in (*gone, *self.former):
            slot = ledger.slot(STUDY.id32, patient.subject)
            assert slot is None or slot.purposes == 0

    @rule()
    def crash(self):
        self.hospital.reopen()
        self.cohort = self.hospital.cohort(snapshot=self.hospital.snapshot)

    @rule()
    def what_the_cohort_knows_is_kept(self):
        self.cohort.save()

    @rule(hours=st.integers(-30, 60))
    def local_clock_moves(self, hours):
        self.hospital.clock.at += hours * 3600

    @rule(hours=st.integers(0, 60))
    def ledger_clock_moves(self, hours):
        self.hospital.ledger.time += hours * 3600

    @rule(data=st.data())
    def replay(self, data):
        if self.said:
            body = data.draw(st.sampled_from(self.said))
            refusal = self._refusal(body)
            assert refusal in {None, "TW3012", "TW3013", "TW3015"}

    @invariant()
    def cohort_is_exactly_who_has_a_valid_current_grant(self):
        mask, shares = self.cohort.permitted()
        now = max(self.hospital.clock.at, self.hospital.ledger.time)
        self.latest = max(self.latest, now)
        for who, patient in enumerate(self.patients):
            grant = self.granted[who]
            slot = self.hospital.ledger.slot(STUDY.id32, patient.subject)
            there = grant is not None and slot is not None and slot.digest == grant.digest(DOMAIN)
            valid = there and now < grant.expiry
            assert not mask[who] or valid
            narrowed = grant is not None and grant.scope != STUDY.scope(HOSPITAL)
            assert shares[who] == (0 if not mask[who] else 2 if narrowed else 1)
            started = min(self.hospital.clock.at, self.hospital.ledger.time) >= (
                grant.not_before if grant else 0
            )
            if valid and started and self.latest < grant.expiry:
                assert mask[who]
        if self.latest == now:
            assert (self.hospital.cohort().mask() <= mask).all()


ConsentOverTime.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
TestConsentOverTime = ConsentOverTime.TestCase


class ConsentOverTimeInAServer(ConsentOverTime):
    """The same over PostgreSQL, less often: what differs is the store, and that has its own."""

    @initialize()
    def open(self):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(world, "place", postgres.shared().vault)
            super().open()


ConsentOverTimeInAServer.TestCase.settings = settings(
    max_examples=4, stateful_step_count=30, deadline=None
)


@pytest.mark.skipif(not postgres.is_here(), reason=postgres.WHY_NOT)
class TestConsentOverTimeInAServer(ConsentOverTimeInAServer.TestCase):
    pass
