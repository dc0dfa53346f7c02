"""What a cohort keeps over a restart: believed no further than it stands, and any change seen."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from structlog.testing import capture_logs

from consent.policy import Grade
from consent.record import DAY
from consent.register import Register
from consent.standing import Standing
from hospital_node.cohort_snapshot import Snapshot, Timetable
from tests.simulators.consent.world import GENESIS, STUDY, VAULT_KEY, Hospital, Patient


@pytest.fixture
def hospital(tmp_path):
    return Hospital(tmp_path, patients=6)


@pytest.fixture
def patients(hospital):
    """Four of six are used, and a process has ended that knew it."""
    found = [Patient(hospital, number) for number in range(6)]
    for patient in found[:4]:
        patient.grants()
    hospital.push()
    cohort = hospital.cohort(snapshot=hospital.snapshot)
    assert cohort.mask().sum() == 4
    cohort.save()
    return found


def start(hospital, snapshot=None, **how):
    """A new process: its first mask, and on how many patients it had to decide."""
    decided = []
    cohort = hospital.cohort(snapshot=snapshot or hospital.snapshot, note=decided.extend, **how)
    mask = cohort.mask().tolist()
    assert mask == hospital.cohort(**how).mask().tolist()  # as if nothing had been kept
    return mask, len(decided)


def test_a_new_process_decides_on_nobody_again(hospital, patients):
    assert start(hospital) == ([True] * 4 + [False] * 2, 0)


def test_what_happened_while_no_process_ran_is_in_the_first_mask(hospital, patients):
    patients[0].withdraws()
    hospital.ledger.attestation(STUDY.id32, patients[1].subject)
    patients[4].grants()
    hospital.push()
    Register(hospital.vault).note(patients[2].record, Standing(died_at=1))
    assert start(hospital) == ([False, False, False, True, True, False], 4)


def test_what_ended_or_began_while_no_process_ran_is_in_the_first_mask(hospital, patients):
    now = int(hospital.clock.at)
    patients[4].grants(patients[4].grant(days=2))
    patients[5].grants(patients[5].grant(not_before=now + DAY))
    hospital.push()
    cohort = hospital.cohort(snapshot=hospital.snapshot)
    assert cohort.mask().tolist() == [True] * 5 + [False]
    cohort.save()
    hospital.clock.at += 2 * DAY
    hospital.ledger.time += 2 * DAY
    assert start(hospital) == ([True] * 4 + [False, True], 2)


def test_every_byte_that_was_changed_is_noticed_and_nothing_is_believed(hospital, patients):
    hospital.desk.withdraw_record(STUDY.id32, patients[0].record)
    path, good = hospital.snapshot.path, hospital.snapshot.path.read_bytes()
    for at in range(0, len(good), 7):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with capture_logs() as logs:
            assert start(hospital) == ([False, True, True, True, False, False], 4)
        assert [entry["code"] for entry in logs] == ["TW8642"]
    for cut in (b"", good[:11], good[:-1], good + b"\0"):
        path.write_bytes(cut)
        with capture_logs() as logs:
            assert start(hospital)[1] == 4
        assert [entry["code"] for entry in logs] == ["TW8642"]


def test_an_older_file_put_back_gives_the_same_cohort(hospital, patients, tmp_path):
    old = shutil.copy(hospital.snapshot.path, tmp_path / "old")
    cohort = hospital.cohort(snapshot=hospital.snapshot)
    patients[0].withdraws()
    cohort.mask()
    cohort.save()
    shutil.copy(old, hospital.snapshot.path)
    assert start(hospital) == ([False, True, True, True, False, False], 1)


def test_one_of_another_key_release_ledger_or_plan_permits_nobody(hospital, patients):
    path = hospital.snapshot.path
    with capture_logs():
        assert start(hospital, Snapshot(path, key=bytes(32), release="this one"))[1] == 4
    assert start(hospital, Snapshot(path, key=VAULT_KEY, release="another"))[1] == 4
    assert start(hospital, grades=(Grade.STAFF,)) == ([False] * 6, 4)
    hospital.domain = replace(hospital.domain, contract=GENESIS[:20])
    assert start(hospital) == ([False] * 6, 4)


def test_another_patient_table_is_decided_on_anew(hospital, patients):
    turned = hospital.records[::-1]
    assert start(hospital, records=turned) == ([False] * 2 + [True] * 4, 4)


def test_a_vault_put_back_from_a_backup_that_went_its_own_way_is_not_taken_for_the_old_one(
    hospital, patients, tmp_path
):
    hospital.vault.store.close()
    old = shutil.copy(hospital.path, tmp_path / "backup")
    hospital.reopen()
    patients[4].grants()
    hospital.push()
    cohort = hospital.cohort(snapshot=hospital.snapshot)
    assert cohort.mask()[4]
    cohort.save()
    hospital.vault.store.close()
    for part in hospital.path.parent.glob("consent.db*"):
        part.unlink()
    shutil.copy(old, hospital.path)
    hospital.reopen()
    assert start(hospital) == ([True] * 4 + [False] * 2, 4)
    patients[0].withdraws()  # a change of the same number as the one that was lost
    assert start(hospital) == ([False, True, True, True, False, False], 4)


def test_a_mirror_of_another_past_is_read_from_the_start(hospital, patients):
    hospital.ledger.heads = dict.fromkeys(hospital.ledger.heads, b"\7" * 32)
    assert start(hospital)[1] == 4


def test_a_clock_that_was_set_back_is_not_asked_what_was_over(hospital, patients):
    hospital.clock.at -= 10
    assert start(hospital)[1] == 4


def test_a_signature_is_not_checked_twice_and_still_binds_every_field(hospital, patients):
    spoiled = hospital.vault.newest(STUDY.id32, patients[0].record).grant.to_json()
    with closing(sqlite3.connect(hospital.path)) as database, database:
        database.execute("update grants set signature = x'00' where seq = 1")
    # Another plan: everyone is decided on, nobody's signature looked at.
    both = (Grade.DEVICE, Grade.STAFF)
    cohort = hospital.cohort(snapshot=hospital.snapshot, grades=both)
    assert cohort.mask().tolist() == [True] * 4 + [False] * 2
    assert not hospital.cohort(grades=both).mask()[0]  # without the file it would be
    with closing(sqlite3.connect(hospital.path)) as database, database:
        body = str(spoiled | {"expiry": spoiled["expiry"] + DAY}).replace("'", '"').encode()
        database.execute("update grants set body = ? where seq = 1", (body,))
    assert not hospital.cohort(snapshot=hospital.snapshot, grades=both).mask()[0]


def test_times_are_told_once_and_in_order():
    first = Timetable(np.array([5, 5, 9], np.int64), np.array([1, 2, 3], np.int32))
    first.add(7, 4)
    first.add(6, 5)
    assert first.due(4.9) == set()
    assert first.due(6) == {1, 2, 5}
    assert first.due(6) == set()
    again = Timetable(*first.ahead())
    for table in (first, again):
        assert [table.due(moment) for moment in (7, 8, 9, 10)] == [{4}, set(), {3}, set()]


def test_no_record_number_stands_in_the_file(tmp_path):
    made = Hospital(tmp_path, patients=0)
    made.records = ["MRN-0000001", "MRN-0000002"]
    Patient(made, 0).grants()
    made.push()
    cohort = made.cohort(snapshot=made.snapshot)
    cohort.mask()
    cohort.save()
    body = made.snapshot._seal.open(made.snapshot.path.read_bytes(), b"", "twinward/cohort/v1")
    assert made.vault.newest(STUDY.id32, made.records[0]).digest in body
    assert b"MRN-000" not in body
    assert made.snapshot.path.stat().st_mode & 0o077 == 0


def test_what_is_searched_at_every_step_stands_where_words_begin(hospital, patients):
    """Else numpy copies the table at each search: two milliseconds for a million patients."""
    known = hospital.snapshot.read()
    for times, _ in (known.starts, known.ends):
        assert times.flags.aligned
        assert times.flags.owndata
