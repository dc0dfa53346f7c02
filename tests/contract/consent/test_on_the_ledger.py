"""What this package signs is what the real contract takes, and the simulator of our other tests
keeps the contract's rules."""

import random
from dataclasses import replace

import pytest

from consent import signature
from consent.policy import Rule
from consent.record import DAY, Domain, Grant, Withdrawal
from consent.relay import Ledger
from consent.study import OptionalCategory
from ledger.mirror import Mirror
from ledger.rpc import Rpc
from tests.simulators.consent.world import HOSPITAL, STUDY, Hospital, LedgerInMemory, Patient
from tests.simulators.ledger.network import CHAIN_ID, START, LedgerNetwork, RunningNode
from twinward.clock import FixedClock
from twinward.errors import LedgerError


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    running = RunningNode(tmp_path_factory.mktemp("node"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def network(node):
    network = LedgerNetwork(node.url, genesis=node.genesis.hash())
    yield network
    network.close()


@pytest.fixture(scope="module")
def domain(node, network):
    return Domain(CHAIN_ID, network.consent, node.genesis.hash())


class OnChain:
    """A real chain and mirror, in the shape of `LedgerInMemory`."""

    def __init__(self, node, network, path, *, hospital=0):
        self.node = node
        self.rpc = Rpc(node.url)
        genesis = node.genesis.hash()
        self.mirror = Mirror(path, rpc=self.rpc, genesis=genesis, contract=network.consent)
        calls = Ledger.of(network.hospitals[hospital], self.mirror, chain_time=self.confirm)
        self.grants, self.withdrawal = calls.grants, calls.withdrawal
        self.attestation, self.slot = calls.attestation, calls.slot
        self.changes, self.head_at = self.mirror.changes, self.mirror.head_at
        self.mirror.sync()

    @property
    def block(self):
        return self.mirror.block

    def confirm(self):
        self.mirror.sync()
        return self.node.clock.now()

    def close(self):
        self.mirror.close()
        self.rpc.close()


@pytest.fixture
def chain(node, network, tmp_path):
    found = OnChain(node, network, tmp_path / "mirror.sqlite")
    yield found
    found.close()


@pytest.fixture
def hospital(tmp_path, chain, domain):
    study = replace(
        STUDY,
        network=domain.genesis.hex(),
        salt=signature.new_key().hex(),
        optional=(OptionalCategory("blood pressure", ("trestbps",)),),
    )
    return Hospital(
        tmp_path, study=study, domain=domain, now=float(START + 20), ledger=chain, patients=5
    )


def test_the_ledger_takes_our_grants_and_withdrawals_and_the_cohort_follows(hospital, chain):
    patients = [Patient(hospital, number) for number in range(5)]
    cohort = hospital.cohort()
    assert not cohort.mask().any()
    for patient in patients:
        patient.grants()
    assert hospital.relay.push_grants().done == 5
    assert cohort.mask().all()

    patients[0].withdraws(nonce=1)
    hospital.desk.withdraw_record(hospital.study.id32, patients[1].record)
    assert cohort.mask().tolist() == [False, False, True, True, True]
    pushed = hospital.relay.push_withdrawals()
    assert (pushed.done, pushed.problems) == (2, ())
    chain.confirm()
    flags = [chain.slot(hospital.study.id32, p.subject).flags for p in patients[:2]]
    assert flags == [1, 2]

    patients[0].grants(patients[0].grant(nonce=2))
    hospital.push()
    assert cohort.mask().tolist() == [True, False, True, True, True]


def test_a_yes_that_leaves_something_out_is_replaced_and_withdrawn_as_any_other(hospital, chain):
    patient, study = Patient(hospital), hospital.study
    less = study.scope(HOSPITAL, without=["blood pressure"])
    shares = []
    for nonce, scope in enumerate((less, study.scope(HOSPITAL), less)):
        grant = patient.grant(nonce=nonce, scope=scope)
        patient.grants(grant)
        shares.append(hospital.cohort().permitted()[1][0])  # nothing until the ledger has this one
        hospital.push()
        chain.confirm()
        slot = chain.slot(study.id32, patient.subject)
        assert (slot.digest, slot.nonce) == (grant.digest(hospital.domain), nonce + 1)
        shares.append(hospital.cohort().permitted()[1][0])
    assert shares == [0, 2, 0, 1, 0, 2]
    patient.withdraws(nonce=3)
    assert hospital.cohort().permitted()[1][0] == 0
    assert hospital.cohort().explain(patient.record).rule is Rule.WITHDRAWN_HERE
    hospital.push()
    chain.confirm()
    assert chain.slot(study.id32, patient.subject).purposes == 0


def test_a_second_push_after_a_lost_note_sends_nothing(hospital, chain):
    patient = Patient(hospital)
    grant = patient.grant()
    patient.grants(grant)
    chain.grants([(grant, grant.sign(patient.key, hospital.domain))])
    chain.confirm()
    before = chain.block
    assert hospital.relay.push_grants().done == 1
    chain.confirm()
    assert chain.block == before


@pytest.mark.parametrize(
    ("elsewhere", "reason"),
    [
        (lambda d: replace(d, chain_id=1), "BadSignature"),
        (lambda d: replace(d, contract=b"\x22" * 20), "BadSignature"),
        (lambda d: replace(d, genesis=b"\x77" * 32), "BadSignature"),
    ],
)
def test_a_wrong_chain_grant_is_refused_by_the_contract_too(
    hospital, chain, domain, elsewhere, reason
):
    patient = Patient(hospital)
    grant = patient.grant()
    ((_, said),) = chain.grants([(grant, grant.sign(patient.key, elsewhere(domain)))])
    assert said == reason
    other = patient.grant(network=b"\x77" * 32)
    ((_, said),) = chain.grants([(other, other.sign(patient.key, domain))])
    assert said == "WrongNetwork"
    chain.confirm()
    assert hospital.cohort().explain(patient.record).rule is Rule.NO_RECORD


def test_the_simulated_ledger_keeps_the_contracts_rules(node, chain, domain):
    """The same 150 random calls on both: same outcomes, same slots."""
    clock = FixedClock(node.clock.now())
    model = LedgerInMemory(clock, domain)
    chance = random.Random(11)
    study = chance.randbytes(32)
    keys = [signature.new_key() for _ in range(3)]
    midnight = START // DAY * DAY
    model.time = node.clock.now() + 500  # both far from every boundary below

    def one_call():
        key = chance.choice(keys)
        subject = signature.address_of(key)
        signer = key if chance.random() < 0.8 else keys[0]
        nonce = model._nonce(study, subject) + chance.choice([0, 0, 0, 1, -1])
        nonce = max(0, nonce)
        if chance.random() < 0.6:
            grant = Grant(
                network=domain.genesis if chance.random() < 0.95 else bytes(32),
                study=study,
                subject=subject if chance.random() < 0.95 else bytes(20),
                purposes=chance.choice([1, 4, 4, 0, 2**128 - 1]),
                purpose_table=chance.randbytes(32),
                scope=chance.randbytes(32),
                terms_shown=chance.randbytes(32),
                not_before=0,
                expiry=midnight + chance.choice([30 * DAY, 30 * DAY, 5, -DAY]),
                nonce=nonce,
                submit_by=START + chance.choice([10 * DAY, 10 * DAY, -DAY]),
            )
            item = (grant, grant.sign(signer, domain))
            return lambda ledger: list(ledger.grants([item]))
        if chance.random() < 0.6:
            withdrawal = Withdrawal(domain.genesis, study, subject, nonce, START)
            sig = withdrawal.sign(key, domain)
            return lambda ledger: attempt(lambda: ledger.withdrawal(withdrawal, sig))
        return lambda ledger: attempt(lambda: ledger.attestation(study, subject))

    def attempt(call):
        try:
            call()
        except LedgerError:
            return "refused"
        return "taken"

    def state(ledger):
        return [
            slot and (slot.purposes, slot.expiry, slot.nonce, slot.flags, slot.digest)
            for slot in (ledger.slot(study, signature.address_of(key)) for key in keys)
        ]

    seen = set()
    for _ in range(150):
        call = one_call()
        expected, found = call(model), call(chain)
        chain.confirm()
        # A withdrawal of what stands withdrawn is refused by one and counts as done by the other.
        if isinstance(found, list):
            assert found == expected
            seen.add(found[0][1])
        assert state(chain) == state(model)
    assert {None, "WrongNetwork", "NoSubject", "NoPurpose", "WrongNonce", "TooLate"} <= seen
    assert {"ExpiryNotMidnight", "BadSignature"} <= seen
