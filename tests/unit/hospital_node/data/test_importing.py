"""An import keeps each patient once, whatever was repeated or interrupted, and sealed."""

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pytest

from hospital_node.data import csv_file, imported, importing, readmission, version
from hospital_node.data.diaries import Diaries
from hospital_node.paths import NodePaths
from models.twin import Series
from tests.simulators.bundles import bundle, condition, observation, patient
from twinward.clock import SystemClock
from twinward.errors import BudgetError, DataError, UsageError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MAPPING = """
format = "csv"
record = "id"
[fields.age]
column = "age"
[fields.num]
column = "num"
"""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(csv_file, "_PART", 3)


def table(tmp_path, *lines, name="t.csv"):
    (tmp_path / "m.toml").write_text(MAPPING, encoding="utf-8")
    (tmp_path / name).write_text("\n".join(["id,age,num", *lines]), encoding="utf-8")
    return tmp_path / name


def run(tmp_path, path, *, progress=lambda _part: None, node="node"):
    mapping = tmp_path / "m.toml" if path.suffix == ".csv" else None
    (source,) = importing.sources([path], mapping=mapping, now=NOW)
    (tmp_path / node).mkdir(exist_ok=True)
    without = readmission.left_out(tmp_path / node)
    with closing(imported.open_store(tmp_path / node, alone=True)) as store:
        return importing.run(store, source, clock=SystemClock(), without=without, progress=progress)


def kept(tmp_path, node="node"):
    with closing(imported.open_store(tmp_path / node)) as store:
        return {each.record: dict(each.values) for each in store.patients()}


def read(tmp_path, node="node"):
    return imported.read(NodePaths(tmp_path / node).patients, hospital="here")


def kinds(outcome):
    return [(each.kind, each.where) for each in outcome.defects]


def test_the_node_works_on_what_was_imported(tmp_path):
    run(tmp_path, table(tmp_path, "b,50,1", "a,60,0", "c,70,"))
    patients = read(tmp_path)
    assert patients.records == ("a", "b")
    assert patients.columns["age"].tolist() == [60.0, 50.0]
    assert patients.columns["num"].tolist() == [0.0, 1.0]
    assert np.isnan(patients.columns["chol"]).all()
    assert not patients.columns["age"].flags.writeable


def test_the_same_import_again_changes_nothing(tmp_path):
    path = table(tmp_path, "a,50,1", "b,60,0")
    first = run(tmp_path, path)
    again = run(tmp_path, path)
    assert (first.was_done, again.was_done) == (False, True)
    assert first.counts == again.counts == {"new": 2, "changed": 0, "same": 0}


def test_a_later_import_changes_what_changed(tmp_path):
    run(tmp_path, table(tmp_path, "a,50,1", "b,60,0"))
    later = run(tmp_path, table(tmp_path, "a,51,1", "b,60,0", "c,40,0", name="later.csv"))
    assert later.counts == {"new": 1, "changed": 1, "same": 1}
    assert kept(tmp_path)["a"] == {"age": 51.0, "num": 1.0}


def test_a_patient_who_is_there_twice_counts_once(tmp_path):
    lines = ["a,50,1", "b,60,0", "c,70,0", "d,70,1", "a,50,1"]
    outcome = run(tmp_path, table(tmp_path, *lines))
    assert kinds(outcome) == [("duplicate", "t.csv:6")]
    assert sorted(kept(tmp_path)) == ["a", "b", "c", "d"]


def test_of_two_that_differ_neither_is_kept(tmp_path):
    run(tmp_path, table(tmp_path, "a,49,1", name="before.csv"))
    lines = ["a,50,1", "b,60,0", "c,70,0", "a,51,1", "a,50,1"]
    outcome = run(tmp_path, table(tmp_path, *lines))
    assert kinds(outcome) == [("contradiction", "t.csv:5"), ("contradiction", "t.csv:6")]
    assert sorted(kept(tmp_path)) == ["b", "c"]


def test_bundles_are_imported_from_a_folder(tmp_path):
    folder = tmp_path / "bundles"
    folder.mkdir()
    for number in range(3):
        data = bundle(patient(f"M{number}"), observation(), condition())
        (folder / f"{number}.json").write_bytes(data[: -1 if number == 1 else None])
    outcome = run(tmp_path, folder)
    assert kinds(outcome) == [("truncated", "1.json")]
    assert outcome.refused == 1
    assert read(tmp_path).records == ("M0", "M2")


class Died(BaseException):
    """The process ended here."""


def test_an_import_goes_on_after_the_last_part_on_disk(tmp_path):
    path = table(tmp_path, *(f"p{n},{40 + n},1" for n in range(10)), "p1,41,1")
    taken = []

    def die(part):
        taken.append(part)
        if len(taken) == 2:
            raise Died

    with pytest.raises(Died):
        run(tmp_path, path, progress=die)
    with pytest.raises(DataError) as refused:
        read(tmp_path)
    assert refused.value.code == "TW7206"
    outcome = run(tmp_path, path, progress=taken.append)
    assert len(taken) == 4
    assert outcome.resumed
    assert kinds(outcome) == [("duplicate", "t.csv:12")]
    assert len(read(tmp_path)) == 10


def test_a_process_that_dies_at_any_statement_leaves_nothing_half_or_twice(tmp_path):
    path = table(tmp_path, *(f"p{n},{40 + n},1" for n in range(8)), "p1,41,1", "p2,99,1")
    whole = run(tmp_path, path, node="whole")
    expected, ends = kept(tmp_path, "whole"), 0
    for deadly in range(1, 200, 7):
        (source,) = importing.sources([path], mapping=tmp_path / "m.toml", now=NOW)
        child = os.fork()
        if child == 0:  # pragma: no cover - it dies
            store, left = imported.open_store(tmp_path / f"n{deadly}"), [deadly]

            def trace(_statement, left=left):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), 9)

            store._file.connection.set_trace_callback(trace)
            importing.run(store, source, clock=SystemClock())
            os._exit(0)
        _, status = os.waitpid(child, 0)
        ends += status == 0
        outcome = run(tmp_path, path, node=f"n{deadly}")
        assert kept(tmp_path, f"n{deadly}") == expected
        assert (outcome.counts, kinds(outcome)) == (whole.counts, kinds(whole))
        if ends == 2:
            break
    assert ends
    assert deadly > 50


def test_nothing_on_disk_says_who_or_what(tmp_path):
    run(tmp_path, table(tmp_path, "SECRET-7,51.2345,1"))
    for path in (tmp_path / "node").rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert b"SECRET" not in data
        assert b"51.2345" not in data
        assert b"t.csv" not in data
        assert path.stat().st_mode & 0o077 == 0


def test_a_row_that_was_changed_or_moved_is_not_used(tmp_path):
    run(tmp_path, table(tmp_path, "a,50,1", "b,60,0"))
    path = NodePaths(tmp_path / "node").patients
    with closing(sqlite3.connect(path)) as db, db:
        (_first, body), (second, _) = db.execute("SELECT name, body FROM patients").fetchall()
        db.execute("UPDATE patients SET body = ? WHERE name = ?", (body, second))
    with pytest.raises(DataError) as refused:
        read(tmp_path)
    assert refused.value.code == "TW7204"


def test_without_its_key_the_file_is_refused(tmp_path):
    run(tmp_path, table(tmp_path, "a,50,1"))
    key = tmp_path / "node" / "patients.key"
    whole = key.read_bytes()
    key.write_bytes(bytes(32))
    with pytest.raises(DataError) as refused:
        read(tmp_path)
    assert refused.value.code == "TW7203"
    key.unlink()
    with pytest.raises(DataError) as refused:
        read(tmp_path)
    assert refused.value.code == "TW7203"
    key.write_bytes(whole)
    key.chmod(0o600)
    assert len(read(tmp_path)) == 1


def test_a_second_import_waits_its_turn(tmp_path):
    path = table(tmp_path, "a,50,1")
    with pytest.raises(BudgetError) as refused:
        run(tmp_path, path, progress=lambda _: run(tmp_path, path))
    assert refused.value.code == "TW4106"


def test_nobody_to_train_on_is_refused(tmp_path):
    with pytest.raises(DataError) as refused:
        read(tmp_path)
    assert refused.value.code == "TW7205"
    run(tmp_path, table(tmp_path, "a,50,"))
    with pytest.raises(DataError) as refused:
        read(tmp_path)
    assert refused.value.code == "TW7205"


def test_an_erased_patient_is_in_no_part_of_the_file(tmp_path):
    run(tmp_path, table(tmp_path, "a,50,1", "b,60,0"))
    path = NodePaths(tmp_path / "node").patients
    with closing(sqlite3.connect(path)) as db:
        bodies = [body for (body,) in db.execute("SELECT body FROM patients")]
    with closing(imported.open_store(tmp_path / "node", alone=True)) as store:
        assert store.forget("a")
        assert not store.forget("a")
    assert list(kept(tmp_path)) == ["b"]
    assert sum(body in path.read_bytes() for body in bodies) == 1


def erase(tmp_path, record):
    with closing(imported.open_store(tmp_path / "node", alone=True)) as store:
        store.forget(record)


def test_whoever_was_erased_stays_out_of_an_import_and_of_one_that_goes_on(tmp_path):
    run(tmp_path, table(tmp_path, "p2,50,1", "p7,60,0"))
    erase(tmp_path, "p2")
    path = table(tmp_path, *(f"p{n},{40 + n},1" for n in range(10)), name="again.csv")

    def dies(_part):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, path, progress=dies)
    erase(tmp_path, "p7")  # between the parts of the import
    erase(tmp_path, "p0")  # and of a part that was taken already
    outcome = run(tmp_path, path)
    assert outcome.resumed
    assert kinds(outcome) == [("erased", "again.csv:4"), ("erased", "again.csv:9")]
    assert outcome.refused == 2
    assert sorted(kept(tmp_path)) == ["p1", "p3", "p4", "p5", "p6", "p8", "p9"]
    assert run(tmp_path, path).was_done
    assert len(kept(tmp_path)) == 7


def test_who_is_let_in_again_comes_with_the_same_source_and_can_be_erased_again(tmp_path):
    path = table(tmp_path, "a,50,1", "b,60,0")
    run(tmp_path, path)
    for _ in range(2):
        erase(tmp_path, "a")
        assert not readmission.let_in(tmp_path / "node", "b")
        assert readmission.let_in(tmp_path / "node", "a")
        assert not readmission.let_in(tmp_path / "node", "a")
        outcome = run(tmp_path, path)
        assert (outcome.counts["new"], outcome.counts["same"]) == (1, 1)
        assert sorted(kept(tmp_path)) == ["a", "b"]
    assert b"a," not in (NodePaths(tmp_path / "node").erased).read_bytes()


def test_what_cannot_be_a_source_is_refused(tmp_path):
    with pytest.raises(UsageError) as refused:
        importing.sources([table(tmp_path, "a,50,1")], mapping=None, now=NOW)
    assert refused.value.code == "TW7207"
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as refused:
        importing.sources([tmp_path / "empty"], mapping=None, now=NOW)
    assert refused.value.code == "TW7201"


def test_the_version_is_that_of_the_data_and_says_nothing_without_the_key(tmp_path):
    lines = ["a,50,1", "b,60,0", "c,70,1"]
    run(tmp_path, table(tmp_path, *lines))
    run(tmp_path, table(tmp_path, *lines[::-1], name="other_order.csv"), node="again")
    run(tmp_path, table(tmp_path, *lines[:2], "c,70.5,1", name="one_number.csv"), node="other")
    key = b"k" * 32
    root = version.root(read(tmp_path), key=key)
    assert len(root) == 32
    assert root == version.root(read(tmp_path, "again"), key=key)
    assert root != version.root(read(tmp_path, "other"), key=key)
    assert root != version.root(read(tmp_path), key=b"x" * 32)


def test_diaries_have_a_version_too():
    def diaries(*glucose):
        minutes = np.arange(float(len(glucose)))
        history = Series(minutes, {"glucose": np.array(glucose)})
        return Diaries("here", ("a",), (history,))

    key = bytes(32)
    root = version.root(diaries(100.0, np.nan), key=key)
    assert root == version.root(diaries(100.0, -np.nan), key=key)
    assert root != version.root(diaries(100.0, 101.0), key=key)
    assert root != version.root(diaries(100.0), key=key)
