"""The vault's server is killed with -9 under withdrawals: none is lost, none half taken, and the
same processes go on when it is back."""

import random
import threading

import pytest

from consent.withdrawals import Withdrawals
from tests.simulators import postgres
from tests.simulators.consent import world
from tests.simulators.consent.world import STUDY, Hospital, Patient
from twinward.errors import EXIT_UNREACHABLE, ConsentError

PATIENTS, DESKS, KILLS = 120, 4, 3


def test_no_receipt_is_broken_and_nobody_is_half_withdrawn(tmp_path, monkeypatch):
    chance = random.Random(20261121)
    with postgres.server() as server:
        monkeypatch.setattr(world, "place", server.vault)
        hospital = Hospital(tmp_path, patients=PATIENTS)
        patients = [Patient(hospital, number) for number in range(PATIENTS)]
        for patient in patients:
            patient.grants()
        while hospital.relay.push_grants().done:
            pass
        cohort = hospital.cohort()
        assert cohort.mask().all()

        receipts, refusals, over = {}, set(), threading.Event()

        def desk(mine):
            for patient in mine:
                while not over.is_set():
                    try:
                        receipts[patient.record] = patient.withdraws()
                        break
                    except ConsentError as error:
                        refusals.add((error.code, error.diagnostic.exit_status))
                        over.wait(0.02)
                over.wait(chance.uniform(0.0, 0.02))

        desks = [threading.Thread(target=desk, args=(patients[i::DESKS],)) for i in range(DESKS)]
        for each in desks:
            each.start()
        for _ in range(KILLS):
            over.wait(chance.uniform(0.1, 0.3))
            server.kill()
            with pytest.raises(ConsentError) as error:
                cohort.mask()
            assert error.value.code == "TW3160"  # away: nobody is used
            server.start()
            said = set(receipts)
            mask = cohort.mask()
            assert not any(mask[hospital.records.index(record)] for record in said)
        for each in desks:
            each.join(60)
            assert not each.is_alive()
        over.set()
        assert refusals == {("TW3160", EXIT_UNREACHABLE)}
        assert len(receipts) == PATIENTS
        assert not cohort.mask().any()

        hospital.reopen()
        store = hospital.vault.store
        everyone = (PATIENTS,)
        # Each withdrawal has its row, its change and its receipt exactly once, asked again or not.
        assert store.row("select count(*) from withdrawals") == everyone
        assert store.row("select count(distinct subject) from withdrawals") == everyone
        assert store.row("select count(*) from changes") == (2 * PATIENTS,)
        kept = {one.record: one for one in hospital.vault.newest_of_all(STUDY.id32)}
        for record, receipt in receipts.items():
            assert kept[record].withdrawn
            assert Withdrawals(hospital.vault).newest(STUDY.id32, record).receipt == receipt
        store.close()
