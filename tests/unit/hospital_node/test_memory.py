"""Who is erased is overwritten where a running process holds them; rows stay as they are."""

import threading

import numpy as np
import pytest

from hospital_node.data import records, uci
from hospital_node.memory import Memory
from hospital_node.privacy.engines.means import MeanClippedSum
from models import registry
from tests.simulators.consent.world import Hospital, Patient

LINES = ["63,1,1,145,233,1,2,150,0,2.3,3,0,6,0", "67,1,4,160,286,0,2,108,1,1.5,2,3,3,2"]


def test_a_row_of_the_table_is_overwritten_in_place_and_the_others_stay_where_they_are(tmp_path):
    path = tmp_path / "records.data"
    path.write_text("\n".join([*LINES, LINES[0]]))
    table = uci.read(path, hospital="north")
    memory = next(iter(table.columns.values())).base
    before = memory.copy()
    without = table.without(1)
    assert np.isnan(memory[1]).all()
    assert np.array_equal(memory[[0, 2]], before[[0, 2]], equal_nan=True)
    assert len(without) == len(set(without.records)) == 3
    assert table.records[1] not in without.records
    assert not any(column.flags.writeable for column in without.columns.values())
    assert not memory.flags.writeable


def a_folder_of_diaries(folder):
    for name, level in (("a", 120.0), ("b", 150.0)):
        readings = [f"{5 * n},{level + 10 * (n % 7)},,," for n in range(30)]
        lines = ["time,glucose,carbs,bolus,heart_rate", *readings, "150,,60,5,72.5", "155,160,,,"]
        (folder / f"{name}.csv").write_text("\n".join(lines))
    return folder


def a_table_of_admissions(folder):
    stays = ["a,2026-01-01T08:00,2026-01-03T09:00", "b,2026-01-02T08:00,2026-01-07T11:30"]
    (folder / "stays.csv").write_text("\n".join(["record,arrived,left", *stays, stays[1]]))
    return folder / "stays.csv"


@pytest.mark.parametrize(
    ("make", "prior"),
    [
        *((a_folder_of_diaries, name) for name in registry._PRIORS if "ward" not in name),
        *((a_table_of_admissions, name) for name in registry._PRIORS if "ward" in name),
    ],
)
def test_a_history_is_overwritten_and_every_prior_still_reads_the_others(tmp_path, make, prior):
    found = records.read(make(tmp_path), hospital="harbour")
    model = registry.prior(prior)
    before = found.vectors(model).copy()
    history = found.histories[1]
    without = found.without(1)
    assert all(np.isnan(values).all() for values in history.values.values())
    assert history.minutes.tolist() == list(range(history.minutes.size))
    assert without.records[0] == found.records[0]
    assert found.records[1] not in without.records
    assert np.array_equal(without.vectors(model)[0], before[0])
    assert not without.vectors(model)[1].any()
    assert np.array_equal(model.vectors(without.histories)[0], before[0])


def test_of_a_mean_the_numbers_go_and_the_others_count_as_before():
    numbers = np.array([[1.0, 0.5], [0.25, 0.75], [0.5, 0.5]])
    mean = MeanClippedSum(numbers, max_grad_norm=2.0)
    everyone, others = np.ones(3, dtype=bool), np.array([True, False, True])
    expected = mean(np.zeros(2), others)
    mean.forget(1)
    assert np.array_equal(mean(np.zeros(2), everyone), expected)
    assert not mean._own[1].any()


def test_a_cohort_never_uses_the_row_again_and_knows_no_record_number_of_it(tmp_path):
    hospital = Hospital(tmp_path, patients=3)
    patients = [Patient(hospital, number) for number in range(3)]
    for patient in patients:
        patient.grants()
    hospital.push()
    cohort = hospital.cohort()
    held = cohort.mask()
    cohort.forget(1, (hospital.records[0], "nobody:1", hospital.records[2]))
    assert held.tolist() == [True, True, True]  # a mask that somebody has does not change
    assert cohort.mask().tolist() == [True, False, True]
    assert hospital.records[1] not in cohort._row
    patients[1].withdraws()
    hospital.push()
    assert cohort.mask().tolist() == [True, False, True]
    assert cohort.mask().tolist() == [True, False, True]
    hospital.vault.store.close()


def test_who_takes_numbers_is_told_of_everyone_who_is_erased_from_then_on():
    memory, told = Memory(), []

    class Holder:
        def forget(self, row):
            told.append(row)

    holder, begun, erased = Holder(), threading.Event(), threading.Event()

    def erase():
        begun.set()
        with memory.erasing() as holders:
            for each in holders:
                each.forget(7)
        erased.set()

    with memory.reading(holder):
        thread = threading.Thread(target=erase)
        thread.start()
        begun.wait(5)
        assert not erased.wait(0.05)  # nobody is erased while numbers are taken
    thread.join(5)
    assert told == [7]
    del holder
    with memory.erasing() as holders:
        assert holders == []
