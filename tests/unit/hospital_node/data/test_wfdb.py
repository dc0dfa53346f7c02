"""Recordings are read as they were written, or refused whole."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hospital_node.data import wfdb
from tests.simulators.ecg import write_beats, write_record
from twinward.errors import DataError


@pytest.fixture
def samples():
    return np.random.default_rng(1).uniform(-2, 2, (2, 301))


@pytest.mark.parametrize(("form", "step"), [(16, 0.001), (212, 0.005)])
def test_samples_come_back_in_millivolts(tmp_path, samples, form, step):
    header = write_record(tmp_path / "a", samples, hertz=250, names=("I", "II"), form=form)
    record = wfdb.read(header)
    assert (record.names, record.units, record.hertz) == (("I", "II"), ("mV", "mV"), 250)
    assert np.abs(record.samples - samples).max() <= step / 2 + 1e-12


@pytest.mark.parametrize("form", [16, 212])
def test_the_extremes_of_a_format_and_what_is_not_recorded(tmp_path, form):
    low = -32768 if form == 16 else -2048
    gain = 1000 if form == 16 else 200
    header = write_record(
        tmp_path / "a", np.array([[low, low + 1, -1, -low - 1]]) / gain, names=("I",), form=form
    )
    found = wfdb.read(header).samples[0] * gain
    assert np.isnan(found[0])
    assert np.allclose(found[1:], [low + 1, -1, -low - 1])


@pytest.mark.parametrize("form", [16, 212])
def test_a_changed_sample_or_a_missing_one_is_noticed(tmp_path, samples, form):
    header = write_record(tmp_path / "a", samples, names=("I", "II"), form=form)
    data = tmp_path / "a.dat"
    whole = data.read_bytes()
    data.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    assert refused(header) == "TW7157"
    data.write_bytes(whole[:-3])
    assert refused(header) == "TW7157"
    data.unlink()
    assert refused(header) == "TW7155"


def test_another_kind_of_file_is_not_guessed_at(tmp_path, samples):
    header = write_record(tmp_path / "a", samples, names=("I", "II"))
    text = header.read_text()
    for broken, code in [
        (text.replace("a.dat 16 ", "a.dat 61 "), "TW7156"),
        (text.replace("a.dat 16 ", "a.dat 16x4 "), "TW7156"),
        (text.replace("a.dat 16 ", "../a.dat 16 "), "TW7155"),
        (text.replace("a 2 100", "a/3 2 100"), "TW7156"),
        (text.replace("a 2 100", "a 3 100"), "TW7156"),
        (text.replace("1000.0(0)/mV", "0(0)/mV"), "TW7155"),
        (text.replace("1000.0(0)/mV", "much"), "TW7155"),
        ("a\n", "TW7155"),
        ("", "TW7155"),
    ]:
        header.write_text(broken)
        assert refused(header) == code, broken
    header.write_bytes(b"\xff\xfe")
    assert refused(header) == "TW7155"


def test_beats_near_and_far_apart_come_back_and_notes_do_not(tmp_path):
    at, kinds = [50, 400, 2000, 90_000, 90_360], ["N", "V", "N", "Q", "A"]
    path = write_beats(tmp_path / "a.atr", at, kinds)
    found = wfdb.beats(path)
    assert (found.at.tolist(), list(found.kinds)) == (at, kinds)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError) as error:
        wfdb.beats(path)
    assert error.value.code == "TW7157"
    path.write_bytes(b"")
    with pytest.raises(DataError):
        wfdb.beats(path)


def test_real_recordings_hold_their_check_sums_and_known_counts_of_beats():
    folder = os.environ.get("TWINWARD_DATA_DIR")
    if not folder or not (Path(folder) / "mitbih").is_dir():
        pytest.skip("set TWINWARD_DATA_DIR to the folder with real recordings")
    record = wfdb.read(Path(folder) / "mitbih" / "106.hea")
    assert (record.samples.shape, record.hertz) == ((1, 650_000), 360)
    beats = wfdb.beats(Path(folder) / "mitbih" / "106.atr")
    assert Counter(beats.kinds) == {"N": 1507, "V": 520}
    assert beats.at[-1] < 650_000


def refused(header):
    with pytest.raises(DataError) as error:
        wfdb.read(header)
    return error.value.code
