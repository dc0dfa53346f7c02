"""Any changed byte of any row of a log's file is found, and the row is named."""

import shutil
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.log.check import problems
from ledger.log.entry import Draft
from ledger.log.store import Log

ORIGIN = "twinward/test"
COLUMNS = {
    "log": ("origin",),
    "leaves": ("seq", "leaf"),
    "nodes": ("place", "hash"),
    "tips": ("key", "n", "seq", "hash"),
    "steps": ("key", "n", "seq"),
    "map": ("node", "size", "hash"),
    "seals": ("size", "root", "topics"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "log.sqlite"
    log = Log(path, origin=ORIGIN)
    for n in range(120):
        log.append([Draft("use", (f"run:{n % 5}", f"patient:{n % 9}"), n, bytes([n]) * 32)])
        if n % 7 == 0:
            log.seal()
    log.seal()
    log.append([Draft("use", ("run:1",), 120, bytes(32))])  # not sealed yet
    log.close()
    return path


def test_an_untouched_log_has_no_problems(whole):
    assert list(problems(whole, origin=ORIGIN)) == []


def test_a_log_whose_old_seals_were_dropped_has_no_problems(tmp_path):
    log = Log(tmp_path / "log.sqlite", origin=ORIGIN)
    for n in range(150):
        log.append([Draft("use", (f"run:{n % 3}", f"patient:{n}"), n, bytes(32))])
        log.seal()
    assert list(problems(tmp_path / "log.sqlite", origin=ORIGIN)) == []
    log.close()


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_changed_value_is_found_in_its_row(whole, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("copy") / "log.sqlite"
    shutil.copy(whole, path)
    table = data.draw(st.sampled_from(sorted(COLUMNS)))
    column = data.draw(st.sampled_from(COLUMNS[table]))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        rows = db.execute(f"select *, {column} from {table}").fetchall()
        row = data.draw(st.sampled_from(rows))
        names = [d[1] for d in db.execute(f"pragma table_info({table})")]
        value = row[-1]
        if isinstance(value, bytes):
            bent = bytearray(value)
            bent[data.draw(st.integers(0, len(value) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            changed = bytes(bent)
        elif isinstance(value, int):
            changed = value ^ 1 << data.draw(st.integers(0, 20))
        else:
            changed = value + "x"
        where = " and ".join(f"{name} = ?" for name in names)
        try:
            db.execute(f"update {table} set {column} = ? where {where}", (changed, *row[:-1]))
        except sqlite3.IntegrityError:
            return  # the file itself refuses two rows of one key
    found = list(problems(path, origin=ORIGIN))
    assert found
    assert table in {problem.table for problem in found}


@pytest.mark.parametrize("table", sorted(set(COLUMNS) - {"log"}))
def test_a_row_that_is_gone_is_found(whole, tmp_path, table):
    path = tmp_path / "log.sqlite"
    shutil.copy(whole, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        names = [d[1] for d in db.execute(f"pragma table_info({table})")]
        row = db.execute(f"select * from {table} limit 1 offset 3").fetchone()
        where = " and ".join(f"{name} = ?" for name in names)
        db.execute(f"delete from {table} where {where}", row)
    assert list(problems(path, origin=ORIGIN))


def test_a_file_that_is_no_log_is_a_problem(tmp_path):
    path = tmp_path / "log.sqlite"
    path.write_bytes(b"not a database, " * 300)
    assert [problem.table for problem in problems(path, origin=ORIGIN)] == ["file"]
