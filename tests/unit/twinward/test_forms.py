"""A database that a newer release wrote is named before anything is opened."""

import sqlite3
from contextlib import closing

import pytest

from twinward import forms
from twinward.errors import EvidenceError

FORMS = {"state/book.sqlite": 4, "state/runs/*.sqlite": 2}


def make(path, form, mode="delete"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"pragma journal_mode = {mode}")
        db.execute(f"pragma user_version = {form}")
        db.execute("create table t (x)")


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_older_and_equal_forms_are_taken_and_newer_ones_refused(tmp_path, mode):
    make(tmp_path / "state" / "book.sqlite", 4, mode)
    make(tmp_path / "state" / "runs" / "a.sqlite", 1, mode)
    forms.require_known(tmp_path, FORMS)
    make(tmp_path / "state" / "runs" / "b.sqlite", 3, mode)
    with pytest.raises(EvidenceError) as refusal:
        forms.require_known(tmp_path, FORMS)
    assert refusal.value.code == "TW7408"
    assert "state/runs/b.sqlite: form 3, known up to 2" in str(refusal.value)


def test_what_a_daemon_holds_for_itself_is_said_and_not_guessed(tmp_path):
    path = tmp_path / "state" / "book.sqlite"
    make(path, 9, "wal")
    with closing(sqlite3.connect(path)) as holder:
        holder.execute("pragma locking_mode = exclusive")
        holder.execute("begin exclusive")
        (one,) = forms.examine(tmp_path, FORMS)
    assert (one.found, one.is_newer) == (None, False)
