"""Kill -9 at any moment: no receipt is ever broken, no grant lost, no withdrawal undone."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from consent.kept import State
from consent.receipts import GRANT_KIND, WITHDRAWAL_KIND
from consent.withdrawals import Withdrawals
from tests.simulators.consent.world import STUDY, Hospital, Patient
from twinward.signing import Document

ROOT = Path(__file__).parents[3]
KILLS = 4


def write_until_killed(folder):
    """The victim: says on stdout each receipt that a patient would have got."""
    hospital = Hospital(Path(folder), patients=10_000)
    known = hospital.vault.last_change()
    for number in range(known, 10_000):
        patient = Patient(hospital, number)
        patient.grants()
        print("granted", patient.record, flush=True)
        if number % 2:
            patient.withdraws(nonce=1)
            print("withdrawn", patient.record, flush=True)


def test_kill_9_loses_no_grant_and_never_undoes_a_withdrawal(tmp_path):
    chance = random.Random(20261121)
    granted, withdrawn = set(), set()  # what was said, as a patient heard it
    for _ in range(KILLS):
        victim = subprocess.Popen(
            [sys.executable, __file__, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        said = [victim.stdout.readline() for _ in range(20)]
        time.sleep(chance.uniform(0.0, 0.2))
        victim.send_signal(signal.SIGKILL)
        said += victim.stdout.readlines()
        victim.wait()
        victim.stdout.close()
        for line in said:
            if line.endswith("\n") and line.strip():
                what, record = line.split()
                (granted if what == "granted" else withdrawn).add(record)
        self_check(Hospital(tmp_path, patients=10_000), granted, withdrawn)
    assert len(granted) > 20
    assert len(withdrawn) > 10


def self_check(hospital, granted, withdrawn):
    kept = {one.record: one for one in hospital.vault.newest_of_all(STUDY.id32)}
    assert granted <= kept.keys()
    assert all(kept[record].withdrawn for record in withdrawn)
    assert all(one.verified(hospital.desk._desk.domain) for one in kept.values())
    for record in withdrawn:
        # A receipt was given out: the same one is given again.
        row = Withdrawals(hospital.vault).newest(STUDY.id32, record)
        assert Document.decode(row.receipt, kind=WITHDRAWAL_KIND).payload["digest"]
    waiting = {hospital.vault.by_digest(d).record for d in hospital.vault.ready_for_ledger()}
    # Each kill may leave one that was durable and had not been said yet.
    ended = {record for record, one in kept.items() if one.withdrawn}
    assert len(ended - withdrawn) <= KILLS
    assert len(kept.keys() - granted) <= KILLS
    assert waiting == kept.keys() - ended
    hospital.vault.store.close()


def test_dying_between_the_grants_commit_and_its_receipt_costs_only_a_repetition(tmp_path):
    hospital = Hospital(tmp_path)
    patient = Patient(hospital)
    body = patient.body(patient.grant())
    victim_dies_in(hospital, "consent.service.grant_receipt", hospital.desk.grant, body)
    hospital.reopen()
    assert Document.decode(hospital.desk.grant(body), kind=GRANT_KIND)
    assert hospital.relay.push_grants().done == 1
    assert patient.is_used()


def test_dying_between_the_withdrawals_commit_and_its_receipt_leaves_it_in_force(tmp_path):
    hospital = Hospital(tmp_path)
    patient = Patient(hospital)
    patient.grants()
    hospital.push()
    victim_dies_in(hospital, "consent.service.withdrawal_receipt", patient.withdraws)
    hospital.reopen()
    assert not patient.is_used()
    receipt = Document.decode(patient.withdraws(), kind=WITHDRAWAL_KIND)
    assert receipt.payload["subject"] == patient.subject.hex()


def test_dying_between_the_receipt_and_the_relay_leaves_it_in_force_and_sends_it_once(tmp_path):
    hospital = Hospital(tmp_path)
    patient = Patient(hospital)
    patient.grants()
    hospital.push()
    before = hospital.ledger.slot(STUDY.id32, patient.subject)
    receipt = patient.withdraws()
    # The patient holds the receipt; the node dies before anything went to the ledger.
    victim_dies_in(hospital, "consent.relay.Relay.push_withdrawals", hospital.push)
    hospital.reopen()
    assert not patient.is_used()
    assert hospital.ledger.slot(STUDY.id32, patient.subject) == before
    assert patient.withdraws() == receipt
    assert hospital.relay.push_withdrawals().done == 1
    assert hospital.ledger.slot(STUDY.id32, patient.subject).purposes == 0 != before.purposes
    assert hospital.relay.push_withdrawals().done == 0
    assert not patient.is_used()


def test_dying_between_the_ledgers_block_and_the_note_sends_nothing_twice(tmp_path):
    hospital = Hospital(tmp_path)
    patient = Patient(hospital)
    patient.grants()
    victim_dies_in(hospital, "consent.vault.Vault.note", hospital.relay.push_grants)
    hospital.reopen()
    assert hospital.vault.by_digest(hospital.ledger.grants_seen[0][0]).state is State.WAITING
    assert patient.is_used()  # the ledger shows it, our note does not matter
    assert hospital.relay.push_grants().done == 1
    assert len(hospital.ledger.grants_seen) == 1


class Dead(BaseException):
    """Stands for the end of the process: nothing of ours catches it."""


def victim_dies_in(hospital, name, call, *args):
    """Run a call whose process ends when it reaches the named function."""
    from unittest.mock import patch

    def die(*_args, **_kwargs):
        raise Dead

    try:
        with patch(name, die):
            call(*args)
    except Dead:
        hospital.vault.store.close()
        return
    raise AssertionError(f"{name} was never reached")


if __name__ == "__main__":
    write_until_killed(sys.argv[1])
