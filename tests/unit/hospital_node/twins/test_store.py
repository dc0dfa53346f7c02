"""The store of twins: sealed rows that cannot be swapped, moved or changed, whole after a crash."""

import sqlite3

import numpy as np
import pytest

from hospital_node.twins.store import Kept, TwinStore
from models.twin import Series
from twinward.errors import TwinModelError

KEY = bytes(range(32))
ANNA, BERT = "anna-7", "bert-8"


def kept(value):
    return Kept(
        population="public",
        individual={"copies": np.full((3, 2), value)},
        state={"minute": np.array([value]), "glucose": np.array([value, np.nan])},
    )


def series(*minutes, value=100.0):
    return Series(np.array(minutes, dtype=float), {"glucose": np.full(len(minutes), value)})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "twins.sqlite"


@pytest.fixture
def store(path):
    store = TwinStore(path, key=KEY)
    yield store
    store.close()


def test_what_was_kept_is_there_after_a_restart(path, store):
    store.keep(ANNA, "glucose/1", kept(1.0), seen=series(0, 5))
    store.advance("glucose/1", [(ANNA, kept(2.0).state, series(10))])
    store.close()
    again = TwinStore(path, key=KEY)
    found = again.load(ANNA, "glucose/1")
    np.testing.assert_array_equal(found.individual["copies"], kept(1.0).individual["copies"])
    np.testing.assert_array_equal(found.state["glucose"], [2.0, np.nan])
    np.testing.assert_array_equal(again.history(ANNA, "glucose/1").minutes, [0, 5, 10])
    again.close()


def test_of_one_moment_the_latest_word_counts(store):
    store.keep(ANNA, "glucose/1", kept(1.0), seen=series(0, 5, value=100.0))
    store.advance("glucose/1", [(ANNA, kept(1.0).state, series(5, 10, value=120.0))])
    found = store.history(ANNA, "glucose/1")
    np.testing.assert_array_equal(found.minutes, [0, 5, 10])
    np.testing.assert_array_equal(found.values["glucose"], [100.0, 120.0, 120.0])


def test_nobody_is_found_under_another_name_or_another_twin(store):
    store.keep(ANNA, "glucose/1", kept(1.0), seen=series(0))
    assert store.load(BERT, "glucose/1") is None
    assert store.load(ANNA, "vitals/1") is None
    assert store.history(BERT, "glucose/1") is None


@pytest.mark.parametrize(("table", "column"), [("twins", "individual"), ("states", "body")])
def test_one_patient_s_twin_put_in_another_s_place_is_refused(path, store, table, column):
    for record in (ANNA, BERT):
        store.keep(record, "glucose/1", kept(1.0), seen=series(0))
    rows = sqlite3.connect(path).execute(f"SELECT name, {column} FROM {table}").fetchall()
    with sqlite3.connect(path) as db:
        db.execute(f"UPDATE {table} SET {column} = ? WHERE name = ?", (rows[0][1], rows[1][0]))
    with pytest.raises(TwinModelError) as refusal:
        list(store.load_many([ANNA, BERT], "glucose/1"))
    assert refusal.value.code == "TW7121"


def test_any_changed_byte_of_a_row_is_refused(path, store):
    store.keep(ANNA, "glucose/1", kept(1.0), seen=series(0))
    (body,) = sqlite3.connect(path).execute("SELECT body FROM states").fetchone()
    for at in range(0, len(body), 7):
        changed = bytearray(body)
        changed[at] ^= 1
        with sqlite3.connect(path) as db:
            db.execute("UPDATE states SET body = ?", (bytes(changed),))
        with pytest.raises(TwinModelError) as refusal:
            store.load(ANNA, "glucose/1")
        assert refusal.value.code == "TW7121"


def test_another_key_opens_nothing(path, store):
    store.keep(ANNA, "glucose/1", kept(1.0), seen=series(0))
    with pytest.raises(TwinModelError) as refusal:
        TwinStore(path, key=bytes(32))
    assert refusal.value.code == "TW7120"


def test_an_advance_that_fails_in_the_middle_changes_nobody(store):
    for record in (ANNA, BERT):
        store.keep(record, "glucose/1", kept(1.0), seen=series(0))

    def changes():
        yield ANNA, kept(2.0).state, series(5)
        raise RuntimeError("the machine stops here")

    with pytest.raises(RuntimeError):
        store.advance("glucose/1", changes())
    assert store.load(ANNA, "glucose/1").state["minute"][0] == 1.0
    assert store.history(ANNA, "glucose/1").minutes.size == 1


def test_who_is_forgotten_leaves_no_row(path, store):
    for record in (ANNA, BERT):
        store.set_care(record, {"by": "ward 3"})
        store.keep(record, "glucose/1", kept(1.0), seen=series(0))
    assert store.forget(ANNA) == 4
    db = sqlite3.connect(path)
    counts = [
        db.execute(f"SELECT count(*) FROM {each}").fetchone()[0]
        for each in ("care", "twins", "observations")
    ]
    assert counts == [1, 1, 1]
    assert store.care(ANNA) is None
    assert store.care(BERT) == {"by": "ward 3"}


def test_a_state_comes_with_what_is_the_patient_s_own_unless_that_was_changed(path, store):
    store.keep(ANNA, "glucose/1", kept(3.0), seen=series(0))
    own, state = store.state(ANNA, "glucose/1")
    assert state["minute"][0] == 3.0
    np.testing.assert_array_equal(own["copies"], kept(3.0).individual["copies"])
    assert list(own) == ["copies"]
    assert store.state(BERT, "glucose/1") is None
    with sqlite3.connect(path) as db:
        db.execute("UPDATE twins SET individual = zeroblob(200)")
    own, _ = store.state(ANNA, "glucose/1")
    with pytest.raises(TwinModelError) as refusal:
        own["copies"]
    assert refusal.value.code == "TW7121"


def sealed(path):
    """Every sealed body in the file."""
    with sqlite3.connect(path) as db:
        return [
            body
            for column in ("care.body", "twins.individual", "states.body", "observations.body")
            for (body,) in db.execute(f"SELECT {column} FROM {column.split('.')[0]}")
        ]


def test_what_was_forgotten_is_in_no_part_of_the_file(path, store):
    for record in (ANNA, BERT):
        store.set_care(record, {"by": "ward 3"})
        store.keep(record, "glucose/1", kept(1.0), seen=series(0))
    written = sealed(path)
    for minute in range(1, 60):
        store.advance("glucose/1", [(ANNA, kept(float(minute)).state, series(minute))])
        written += sealed(path)
    store.keep(ANNA, "glucose/1", kept(2.0), seen=None)
    written += sealed(path)
    store.forget(ANNA)
    left = sealed(path)
    assert len(left) == 4
    bytes_on_disk = b"".join(each.read_bytes() for each in path.parent.iterdir())
    gone = {body for body in written if body not in left}
    assert len(gone) > 60
    for body in gone:
        assert body[:28] not in bytes_on_disk
        assert body[-28:] not in bytes_on_disk
    assert all(body in bytes_on_disk for body in left)


def test_forgetting_says_when_another_reader_keeps_the_journal(path, store):
    store.keep(ANNA, "glucose/1", kept(1.0), seen=series(0))
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM twins").fetchone()
    store._file.change("PRAGMA busy_timeout = 50")
    with pytest.raises(TwinModelError) as refusal:
        store.forget(ANNA)
    assert refusal.value.code == "TW7134"
    assert store.load(ANNA, "glucose/1") is None
    reader.close()
    assert store.forget(ANNA) == 0
    assert (path.parent / f"{path.name}-wal").stat().st_size == 0


def test_what_was_written_down_on_care_is_read_by_who_has_the_key(store):
    for record in (ANNA, BERT):
        store.set_care(record, {"record": record})
    assert {note["record"] for note in store.notes()} == {ANNA, BERT}
    store.forget(ANNA)
    assert [note["record"] for note in store.notes()] == [BERT]
