"""Patients of a folder laid out as PTB-XL: one recording each, or the whole folder refused."""

import os
from pathlib import Path

import numpy as np
import pytest

from hospital_node.data import ecg
from models.cardiac_ecg.risk import RECORDING
from tests.simulators.ecg import write_folder
from twinward.errors import DataError


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "ecg", patients=20, seed=3)


def test_each_patient_is_there_once_with_recording_and_labels(folder):
    assert len(ecg.recordings(folder).patients) == 22
    found = ecg.read(folder, hospital="harbour")
    assert len(found) == len(set(found.records)) == 20
    assert found.columns[RECORDING].shape == (20, 12, 1000)
    assert not found.columns[RECORDING].flags.writeable
    assert set(found.columns["infarction"]) == {0.0, 1.0}
    assert np.array_equal(found.columns["infarction"], found.columns["abnormality"])


def test_what_is_neither_normal_nor_a_finding_has_no_label(folder):
    change(folder / ecg.DATABASE, "'NORM'", "'SR'")
    found = ecg.read(folder, hospital="harbour")
    assert np.isnan(found.columns["infarction"]).sum() == np.sum(
        found.columns["abnormality"] != 1.0
    )
    change(folder / ecg.DATABASE, "'IMI'", "'LVH'")
    change(folder / ecg.DATABASE, "'AMI'", "'LVH'")
    found = ecg.read(folder, hospital="harbour")
    assert np.isnan(found.columns["infarction"]).all()
    assert set(found.columns["abnormality"][~np.isnan(found.columns["abnormality"])]) == {1.0}


@pytest.mark.parametrize(
    ("file", "old", "new", "code"),
    [
        (ecg.DATABASE, "filename_lr", "file", "TW7158"),
        (ecg.DATABASE, "103.0", "", "TW7158"),
        (ecg.DATABASE, "records100/000030_lr", "../../000030_lr", "TW7158"),
        (ecg.DATABASE, "records100/000030_lr", "records100/none", "TW7155"),
        (ecg.DATABASE, "{'", "__import__('os').getcwd() or {'", "TW7158"),
        (ecg.STATEMENTS, "diagnostic_class", "class", "TW7158"),
        ("records100/000030_lr.hea", " V6", " V7", "TW7158"),
        ("records100/000030_lr.hea", " 100 1000", " 500 1000", "TW7158"),
    ],
)
def test_a_folder_that_is_wrong_anywhere_is_refused_and_no_patient_named(
    folder, file, old, new, code
):
    change(folder / file, old, new)
    with pytest.raises(DataError) as error:
        ecg.read(folder, hospital="harbour")
    assert error.value.code == code
    assert "103" not in error.value.diagnostic.as_text().replace(str(folder), "")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError) as error:
        ecg.read(tmp_path, hospital="harbour")
    assert error.value.code == "TW7158"


def test_the_real_archive_is_read_whole():
    folder = os.environ.get("TWINWARD_DATA_DIR")
    if not folder or not (Path(folder) / "ptbxl").is_dir():
        pytest.skip("set TWINWARD_DATA_DIR to the folder with real recordings")
    found = ecg.recordings(Path(folder) / "ptbxl")
    assert (len(found.patients), len(set(found.patients))) == (401, 373)
    assert sorted(set(found.sites)) == ["0", "1", "2", "3"]
    assert (np.nansum(found.infarction), np.nansum(found.abnormality)) == (53, 150)
    assert np.sum(found.infarction == 0) == 235


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
