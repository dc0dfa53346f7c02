"""Reading a hospital's file: exact values in, and each fault refused by name and place."""

import os
from pathlib import Path

import numpy as np
import pytest

from hospital_node.data import uci
from twinward.errors import DataError

GOOD = "63.0,1.0,1.0,145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,0.0,6.0,0"
SPARSE = "38,0,4,?,0,?,?,?,?,?,?,?,?,2"


def written(folder, text, name="processed.va.data"):
    path = folder / name
    path.write_text(text)
    return path


def refusal_of(path, **options):
    with pytest.raises(DataError) as refusal:
        uci.read(path, hospital="va", **options)
    return refusal.value.diagnostic


def test_a_file_is_read_exactly(tmp_path):
    patients = uci.read(written(tmp_path, f"{GOOD}\r\n\n{SPARSE}\n{SPARSE}\n"), hospital="va")
    assert patients.records == ("va-0001", "va-0003", "va-0004")
    assert len(patients) == 3
    assert patients.repeated == 1
    assert patients.columns["oldpeak"][0] == 2.3
    assert list(patients.columns["num"]) == [0, 2, 2]
    assert np.isnan(patients.columns["thal"][1])
    assert np.isnan(patients.columns["chol"][1]), "the archive writes 0 for unknown"
    with pytest.raises(ValueError, match="read-only"):
        patients.columns["age"][0] = 1


@pytest.mark.parametrize(
    ("line", "code", "place"),
    [
        (GOOD + ",1", "TW8003", ":2"),
        ("63,1", "TW8003", ":2"),
        (GOOD.replace("233.0", "abc"), "TW8004", ":2: column `chol`"),
        (GOOD.replace("233.0", ""), "TW8004", ":2: column `chol`"),
        (GOOD.replace("233.0", "nan"), "TW8004", ":2: column `chol`"),
        (GOOD.replace("233.0", "inf"), "TW8004", ":2: column `chol`"),
        (GOOD.replace("233.0", "1e30"), "TW8004", ":2: column `chol`"),
        (GOOD.replace("233.0", "٢٣٣"), "TW8001", ""),
        (GOOD.replace("233.0", "5000"), "TW8005", ":2: column `chol`"),
        (GOOD.replace("63.0", "0"), "TW8005", ":2: column `age`"),
        (GOOD.replace("6.0", "6.5"), "TW8005", ":2: column `thal`"),
        (GOOD[:-1] + "?", "TW8006", ":2: column `num`"),
        (GOOD[:-1] + "5", "TW8005", ":2: column `num`"),
    ],
)
def test_a_fault_is_named_with_its_place_and_never_with_its_value(tmp_path, line, code, place):
    path = written(tmp_path, f"{GOOD}\n{line}\n")
    diagnostic = refusal_of(path)
    assert diagnostic.code == code
    assert diagnostic.at == f"{path}{place}"
    for secret in ("5000", "abc", "6.5"):
        assert secret not in diagnostic.as_text()


def test_the_allowed_range_is_named(tmp_path):
    path = written(tmp_path, GOOD.replace("145.0", "999"))
    assert refusal_of(path).message == "the value is not from 40 to 300"


def test_files_that_are_no_files(tmp_path):
    assert refusal_of(tmp_path / "absent.data").code == "TW8001"
    assert refusal_of(tmp_path).code == "TW8001"
    assert refusal_of(written(tmp_path, "\n \n")).code == "TW8002"


def test_a_sparse_giant_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "processed.va.data"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 2**40)
    assert refusal_of(path).code == "TW8001"


def test_more_patients_than_the_public_cap_are_refused(tmp_path):
    path = written(tmp_path, f"{GOOD}\n" * 4)
    assert refusal_of(path, max_patients=3).code == "TW8007"
    assert len(uci.read(path, hospital="va", max_patients=4)) == 4


def test_files_are_found_by_name(tmp_path):
    folder = tmp_path / "heart_disease"
    folder.mkdir()
    (folder / "notes.txt").write_text("x")
    first = written(folder, GOOD, "processed.cleveland.data")
    second = written(folder, GOOD)
    assert uci.find(tmp_path) == uci.find(folder) == {"cleveland": first, "va": second}
    with pytest.raises(DataError) as refusal:
        uci.find(folder / "absent")
    assert refusal.value.code == "TW8008"


@pytest.mark.skipif(
    "TWINWARD_DATA_DIR" not in os.environ, reason="needs the UCI files: set TWINWARD_DATA_DIR"
)
def test_the_four_real_hospitals_satisfy_the_contract():
    found = uci.find(Path(os.environ["TWINWARD_DATA_DIR"]))
    patients = {name: uci.read(path, hospital=name) for name, path in found.items()}
    assert {name: len(table) for name, table in patients.items()} == {
        "cleveland": 303, "hungarian": 294, "switzerland": 123, "va": 200,
    }  # fmt: skip
    positives = {n: round(float((t.columns["num"] > 0).mean()), 3) for n, t in patients.items()}
    assert positives == {"cleveland": 0.459, "hungarian": 0.361, "switzerland": 0.935, "va": 0.745}
    assert np.isnan(patients["switzerland"].columns["chol"]).all()
