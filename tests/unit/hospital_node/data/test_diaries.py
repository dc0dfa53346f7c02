"""A hospital's folder of diaries: read whole or refused, and never mistaken for a table."""

import numpy as np
import pytest

from hospital_node.data import records, virtual, virtual_diaries
from models import registry
from twinward.errors import DataError

GOOD = "time,glucose,carbs,bolus\n0,120,0,0\n5,,60,5\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b-2.csv").write_text(GOOD)
    (tmp_path / "a-1.csv").write_text(GOOD)
    return tmp_path


def test_each_file_is_one_patient_named_by_its_record(folder):
    found = records.read(folder, hospital="harbour")
    assert found.records == ("a-1", "b-2")
    assert len(found) == 2
    assert found.histories[0].values["bolus"][1] == 5


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("c-3.csv", "time,colour\n0,1\n", "TW7130"),
        ("c-3.csv", "time,glucose\n0,9000\n", "TW7131"),
        ("-c.csv", GOOD, "TW7136"),
        ("c-3.csv", "time,glucose\n0,\xff\n", "TW7136"),
    ],
)
def test_one_faulty_diary_refuses_all_and_names_no_patient(folder, name, text, code):
    (folder / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as refusal:
        records.read(folder, hospital="harbour")
    assert refusal.value.code == code
    said = refusal.value.diagnostic.as_text().replace(str(folder), "")
    assert "c-3" not in said
    assert "9000" not in said


def test_an_empty_folder_is_no_hospital(tmp_path):
    with pytest.raises(DataError) as refusal:
        records.read(tmp_path, hospital="harbour")
    assert refusal.value.code == "TW7136"


def test_a_plan_for_other_data_is_refused_before_anything_is_charged(folder, tmp_path):
    diaries = records.read(folder, hospital="harbour")
    table = records.read(virtual.write(tmp_path / "tables")["harbour"], hospital="harbour")
    glucose, vitals = registry.prior("glucose_prior/1"), registry.prior("vitals_start/1")
    assert records.histories(diaries, glucose) is diaries
    assert records.table(table) is table
    for ask in (
        lambda: records.table(diaries),
        lambda: records.histories(table, glucose),
        lambda: records.histories(diaries, vitals),
    ):
        with pytest.raises(DataError) as refusal:
            ask()
        assert refusal.value.code == "TW7137"


def test_one_diary_serves_studies_of_other_quantities_too(tmp_path):
    written = virtual_diaries.write(tmp_path, people=2, days=1, seed=5, vitals=True)
    found = records.read(written["harbour"], hospital="harbour")
    plain = virtual_diaries.write(tmp_path / "plain", people=2, days=1, seed=5)
    without = records.read(plain["harbour"], hospital="harbour")
    for name in ("glucose_prior/1", "glucose_forecast_step/1", "vitals_start/1"):
        prior = registry.prior(name)
        said = records.histories(found, prior).vectors(prior)
        assert said.any(axis=1).all()
        if name != "vitals_start/1":
            np.testing.assert_array_equal(said, without.vectors(prior))


def test_virtual_diaries_are_the_same_for_the_same_seed(tmp_path):
    first = virtual_diaries.write(tmp_path / "one", people=1, days=1, seed=5)
    second = virtual_diaries.write(tmp_path / "two", people=1, days=1, seed=5)
    for name, folder in first.items():
        (path,) = folder.iterdir()
        assert path.read_bytes() == (second[name] / path.name).read_bytes()
        assert len(records.read(folder, hospital=name).histories[0].minutes) == 288
