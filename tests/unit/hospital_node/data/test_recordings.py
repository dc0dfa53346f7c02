"""Recordings brought in: sealed, reported on, and only what is damaged left out."""

import json
import os
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hospital_node.data import ecg, imported, importing, quality, recordings, version
from hospital_node.data.cli import data
from hospital_node.paths import NodePaths
from models.cardiac_ecg.risk import RECORDING
from tests.simulators.ecg import write_folder
from twinward.clock import SystemClock
from twinward.errors import DataError, UsageError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(recordings, "_PART", 6)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "ecg", patients=20, seed=3)


@pytest.fixture
def node(tmp_path):
    (tmp_path / "node").mkdir()
    return tmp_path / "node"


def run(node, folder, *, progress=lambda _part: None):
    (source,) = importing.sources([folder], mapping=None, now=NOW)
    with closing(imported.open_store(node, alone=True)) as store:
        return importing.run(store, source, clock=SystemClock(), progress=progress)


def read(node):
    return imported.read(NodePaths(node).patients, hospital="here")


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def kinds(outcome):
    return [one.kind for one in outcome.defects]


def test_an_import_and_the_folder_itself_are_the_same_version_of_the_data(node, folder):
    outcome = run(node, folder)
    assert (outcome.counts["new"], outcome.defects) == (20, ())
    kept, plain = read(node), ecg.read(folder, hospital="here")
    assert version.root(kept, key=b"k") == version.root(plain, key=b"k")
    assert not kept.columns[RECORDING].flags.writeable
    again = run(node, folder)
    assert again.was_done


def test_nothing_of_a_recording_or_a_patient_stands_on_disk_in_the_open(node, folder):
    run(node, folder)
    samples = ecg.read(folder, hospital="here").columns[RECORDING]
    on_disk = b"".join(path.read_bytes() for path in (node / "state").glob("patients.sqlite*"))
    assert samples[0, 0].tobytes() not in on_disk
    assert recordings.packed(samples[0])[:64] not in on_disk
    assert b"infarction" not in on_disk


def test_an_import_that_died_goes_on_with_the_next_part(node, folder):
    parts = []

    def die(part):
        parts.append(part)
        if len(parts) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(node, folder, progress=die)
    with pytest.raises(DataError) as refused:
        read(node)
    assert refused.value.code == "TW7206"
    outcome = run(node, folder)
    assert outcome.resumed
    assert outcome.counts["new"] == len(read(node)) == 20


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda path: path.with_suffix(".dat").unlink(), "recording-unreadable"),
        (lambda path: path.with_suffix(".hea").write_text("none"), "recording-unreadable"),
        (lambda path: path.with_suffix(".dat").write_bytes(bytes(24_000)), "recording-changed"),
        (lambda path: change(path.with_suffix(".hea"), " V6", " V7"), "recording-other"),
        (lambda path: change(path.with_suffix(".hea"), " 100 10", " 500 10"), "recording-other"),
    ],
)  # fmt: skip
def test_a_damaged_recording_costs_itself_and_a_patient_with_no_other_is_named(
    node, folder, spoil, kind
):
    lines = list(ecg.listed(folder))
    only = next(one for one in lines if sum(o.patient() == one.patient() for o in lines) == 1)
    spoil(folder / only.name)
    outcome = run(node, folder)
    assert kinds(outcome) == [kind, "no-recording"]
    assert (outcome.counts["new"], outcome.refused) == (19, 1)
    assert only.patient() not in read(node).records
    assert "103" not in " ".join(one.where for one in outcome.defects)


def test_of_a_patient_with_two_recordings_the_whole_one_is_taken(node, folder):
    lines = list(ecg.listed(folder))
    first = next(one for one in lines if sum(o.patient() == one.patient() for o in lines) == 2)
    (folder / first.name).with_suffix(".dat").unlink()
    outcome = run(node, folder)
    assert kinds(outcome) == ["recording-unreadable"]
    assert outcome.counts["new"] == 20
    assert first.patient() in read(node).records


def test_lines_that_are_of_nobody_or_say_nothing_are_defects(node, folder):
    text = (folder / ecg.DATABASE).read_text().splitlines(keepends=True)
    text[1] = "," + text[1].partition(",")[2]
    text[2] = text[2].replace("{'", "open('/etc/passwd') or {'")
    (folder / ecg.DATABASE).write_text("".join(text))
    outcome = run(node, folder)
    assert sorted(kinds(outcome)) == ["malformed", "no-identifier"]
    assert outcome.counts["new"] >= 18


def test_the_report_says_how_many_qualify_and_how_they_are_labelled(node, folder):
    change(folder / ecg.DATABASE, "'NORM'", "'SR'")
    outcome = run(node, folder)
    with closing(imported.open_store(node)) as store:
        found = quality.summary(store.patients(), imports=[], minimum=5, version=None)
    assert found["patients"] == 20
    assert found["qualifying"] == found["with_disease"] == 20 - kinds(outcome).count("incomplete")
    assert [one["name"] for one in found["fields"]] == [RECORDING, "infarction", "abnormality"]
    assert found["fields"][0]["quartiles"][0] > 0


def test_the_command_writes_the_page_and_the_patient_can_be_erased(node, folder):
    result = CliRunner().invoke(data, ["import", str(node), str(folder), "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["patients"], told["qualifying"]) == (20, 20)
    page = Path(told["report"]).read_text(encoding="utf-8")
    assert "twelve leads" in page
    record = read(node).records[0]
    result = CliRunner().invoke(data, ["forget", str(node), record, "--yes"])
    assert result.exit_code == 0, result.output
    assert record not in read(node).records
    text = (folder / ecg.DATABASE).read_text()
    (folder / ecg.DATABASE).write_text(text + "\n")
    result = CliRunner().invoke(data, ["import", str(node), str(folder), "--json"])
    assert result.exit_code == 0, result.output
    assert record not in read(node).records  # an import does not bring back who was erased


def test_recordings_and_tables_are_not_mixed(node, folder, tmp_path):
    with pytest.raises(UsageError) as refused:
        importing.sources([folder, tmp_path / "t.csv"], mapping=None, now=NOW)
    assert refused.value.code == "TW7209"
    run(node, folder)
    (tmp_path / "m.toml").write_text(
        'format = "csv"\nrecord = "id"\n[fields.num]\ncolumn = "num"\n', encoding="utf-8"
    )
    (tmp_path / "t.csv").write_text("id,num\nx1,1\n", encoding="utf-8")
    (table,) = importing.sources([tmp_path / "t.csv"], mapping=tmp_path / "m.toml", now=NOW)
    with closing(imported.open_store(node, alone=True)) as store:
        importing.run(store, table, clock=SystemClock())
    with pytest.raises(DataError) as refused:
        read(node)
    assert refused.value.code == "TW7208"


def test_the_real_archive_comes_in(node):
    folder = os.environ.get("TWINWARD_DATA_DIR")
    if not folder or not (Path(folder) / "ptbxl").is_dir():
        pytest.skip("set TWINWARD_DATA_DIR to the folder with real recordings")
    outcome = run(node, Path(folder) / "ptbxl")
    assert outcome.counts["new"] == 373
    assert outcome.refused == 0
    kept = read(node)
    plain = ecg.read(Path(folder) / "ptbxl", hospital="here")
    rows = [plain.records.index(record) for record in kept.records]
    assert np.array_equal(kept.columns[RECORDING], plain.columns[RECORDING][rows])
