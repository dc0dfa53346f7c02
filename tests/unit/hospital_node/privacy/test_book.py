"""The book never under-counts: not after a crash, a restored backup, or a fault of the disk."""

import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from contextlib import closing

import pytest

from hospital_node.privacy.book import BudgetBook
from twinward import gdp
from twinward.errors import BudgetError

RUN, OTHER = "a1" * 32, "b2" * 32
ONE = gdp.mu_of(1.0, 1e-5) ** 2
TERMS = {"plan_digest": b"p" * 32, "attempts": 33, "mu2_per_attempt": ONE / 33}


@pytest.fixture
def book(tmp_path):
    book = BudgetBook(tmp_path / "book.sqlite")
    yield book
    book.close()


def refused(call, code):
    with pytest.raises(BudgetError) as refusal:
        call()
    assert refusal.value.code == code
    return refusal.value.diagnostic


def test_a_reservation_counts_in_full_at_once(book):
    assert book.reserve(RUN, **TERMS) == gdp.micro_mu2(ONE) == 71852
    assert book.spent_mu2() == pytest.approx(ONE)
    assert book.spent_mu2() >= ONE
    assert book.attempts_left(RUN) == 33


def test_each_run_has_a_cost_and_all_of_them_add_up(book):
    book.reserve(RUN, **TERMS)
    book.reserve(OTHER, **TERMS | {"attempts": 2})
    assert book.cost_mu2(RUN) == pytest.approx(ONE)
    assert book.cost_mu2(OTHER) == pytest.approx(ONE * 2 / 33)
    assert book.cost_mu2("c3" * 32) is None
    assert book.spent_mu2() == pytest.approx(ONE * 35 / 33)


def test_asking_again_on_the_same_terms_is_paid_once(book):
    assert book.reserve(RUN, **TERMS) == book.reserve(RUN, **TERMS)
    assert book.reserved() == {RUN: 71852}
    for change in ({"plan_digest": b"q" * 32}, {"attempts": 34}, {"mu2_per_attempt": ONE}):
        refused(lambda change=change: book.reserve(RUN, **TERMS | change), "TW4101")


def test_attempts_are_gone_when_they_are_gone(book):
    book.reserve(RUN, **TERMS | {"attempts": 3})
    for step in range(3):
        book.mark(RUN, epoch=1, step=step)
    refused(lambda: book.mark(RUN, epoch=2, step=2), "TW4103")
    assert book.attempts_left(RUN) == 0


def test_one_attempt_is_never_made_twice(book):
    book.reserve(RUN, **TERMS)
    book.mark(RUN, epoch=1, step=1)
    refused(lambda: book.mark(RUN, epoch=1, step=1), "TW4104")
    book.mark(RUN, epoch=2, step=1)
    assert book.attempts_left(RUN) == 31


def test_nothing_leaves_without_a_reservation(book):
    refused(lambda: book.mark(RUN, epoch=1, step=1), "TW4102")
    book.reserve(RUN, **TERMS)
    refused(lambda: book.mark(OTHER, epoch=1, step=1), "TW4102")


def test_only_a_closed_run_gives_back_and_only_what_was_never_marked(book):
    book.reserve(RUN, **TERMS)
    for step in range(30):
        book.mark(RUN, epoch=1, step=step)
    assert book.spent_mu2() == pytest.approx(ONE)
    book.close_run(RUN)
    book.close_run(RUN)
    book.close_run(OTHER)
    assert book.spent_mu2() == pytest.approx(ONE * 30 / 33)
    assert book.reserved() == {RUN: 71852}, "the ledger never gives back"
    refused(lambda: book.mark(RUN, epoch=1, step=30), "TW4102")
    refused(lambda: book.reserve(RUN, **TERMS), "TW4102")


def reopened(book, tmp_path, **how):
    book.close()
    return BudgetBook(tmp_path / "book.sqlite", **how)


def test_a_run_is_not_continued_by_a_book_that_may_be_an_old_copy(tmp_path, book):
    """Marks that were lost with a copy could be made once more; so nothing more leaves."""
    book.reserve(RUN, **TERMS)
    for step in range(3):
        book.mark(RUN, epoch=1, step=step)
    with closing(reopened(book, tmp_path)) as book:
        assert book.attempts_left(RUN) is None
        refused(lambda: book.mark(RUN, epoch=2, step=3), "TW4109")
        refused(lambda: book.reserve(RUN, **TERMS), "TW4109")
        book.close_run(RUN)
        assert book.spent_mu2() == pytest.approx(ONE), "and nothing is given back"
        book.reserve(OTHER, **TERMS)


def test_a_killed_node_goes_on_with_its_run_while_the_machine_is_up(tmp_path):
    memory = tmp_path / "memory"
    memory.mkdir()
    path = tmp_path / "book.sqlite"
    killed = BudgetBook(path, memory=memory)  # never closed: a killed process closes nothing
    killed.reserve(RUN, **TERMS)
    killed.mark(RUN, epoch=1, step=1)
    with closing(BudgetBook(path, memory=memory)) as book:
        assert book.attempts_left(RUN) == 32
        book.reserve(RUN, **TERMS)
        book.mark(RUN, epoch=2, step=2)
        book.close_run(RUN)
        assert book.spent_mu2() == pytest.approx(2 * ONE / 33)
    assert not list(memory.iterdir()), "nothing is under way, so nothing is remembered"
    killed.close()


def copied(path, to):
    """The file with all that was committed, as a backup tool takes it."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)
    return to


@pytest.mark.parametrize("marks_lost", [1, 5])
def test_a_copy_from_before_a_mark_is_refused_on_the_same_machine(tmp_path, marks_lost):
    memory, path = tmp_path / "memory", tmp_path / "book.sqlite"
    memory.mkdir()
    killed = BudgetBook(path, memory=memory)
    killed.reserve(RUN, **TERMS)
    backup = copied(path, tmp_path / "backup.sqlite")
    for step in range(marks_lost):
        killed.mark(RUN, epoch=1, step=step)
    killed.close()
    for each in tmp_path.glob("book.sqlite*"):
        each.unlink()
    shutil.copy(backup, path)
    refused(lambda: BudgetBook(path, memory=memory), "TW4108")


def test_a_copy_on_another_machine_continues_nothing(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    path = tmp_path / "book.sqlite"
    killed = BudgetBook(path, memory=here)
    killed.reserve(RUN, **TERMS)
    with closing(BudgetBook(copied(path, tmp_path / "clone.sqlite"), memory=here)) as clone:
        refused(lambda: clone.mark(RUN, epoch=1, step=1), "TW4109")
    with closing(BudgetBook(path, memory=there)) as rebooted:
        refused(lambda: rebooted.mark(RUN, epoch=1, step=1), "TW4109")
    killed.close()


def test_a_note_that_someone_else_could_have_written_proves_nothing(tmp_path):
    memory, path = tmp_path / "memory", tmp_path / "book.sqlite"
    memory.mkdir()
    killed = BudgetBook(path, memory=memory)
    killed.reserve(RUN, **TERMS)
    (note,) = memory.iterdir()
    assert stat.S_IMODE(note.stat().st_mode) == 0o600
    note.chmod(0o666)
    with closing(BudgetBook(path, memory=memory)) as book:
        refused(lambda: book.mark(RUN, epoch=1, step=1), "TW4109")
    target = tmp_path / "elsewhere"
    target.write_bytes(bytes(8))
    note.unlink(missing_ok=True)
    note.symlink_to(target)
    BudgetBook(path, memory=memory).close()
    assert target.read_bytes() == bytes(8), "a link is never followed"
    killed.close()


def test_a_sampled_run_is_paid_in_whole_however_little_of_it_is_made(book):
    book.reserve(RUN, **TERMS, divisible=False)
    book.mark(RUN, epoch=1, step=1)
    book.close_run(RUN)
    assert book.spent_mu2() == pytest.approx(ONE)
    refused(lambda: book.reserve(RUN, **TERMS), "TW4101")


CRASH = """
    import os, signal, sys
    from pathlib import Path
    from hospital_node.privacy.book import BudgetBook
    path = Path(sys.argv[1])
    book = BudgetBook(path, memory=path.parent)
    book.reserve(sys.argv[2], plan_digest=b"p" * 32, attempts=33, mu2_per_attempt=0.002)
    for step in range(5):
        book.mark(sys.argv[2], epoch=1, step=step)
        print(step, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_node_has_paid_for_every_attempt_it_marked(tmp_path):
    path = tmp_path / "book.sqlite"
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CRASH), str(path), RUN],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert child.stdout.split() == list("01234")
    book = BudgetBook(path, memory=tmp_path)
    assert book.marked(RUN) == (1, 5)
    assert book.attempts_left(RUN) == 28
    assert book.spent_mu2() == pytest.approx(33 * 0.002)
    refused(lambda: book.mark(RUN, epoch=1, step=4), "TW4104")
    book.close()


def test_a_book_of_the_first_version_is_carried_over(tmp_path):
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            "CREATE TABLE runs (run TEXT PRIMARY KEY, plan BLOB NOT NULL, attempts INTEGER NOT"
            " NULL, pico_mu2 INTEGER NOT NULL, closed INTEGER NOT NULL DEFAULT 0) STRICT;"
            "CREATE TABLE marks (run TEXT NOT NULL, epoch INTEGER NOT NULL, step INTEGER NOT NULL,"
            " PRIMARY KEY (run, epoch, step)) STRICT, WITHOUT ROWID;"
            "INSERT INTO runs VALUES ('a', x'00', 3, 100000000000, 0);"
            "PRAGMA user_version = 1;"
        )
    for _ in range(2):
        with closing(BudgetBook(path)) as book:
            assert book.spent_mu2() == pytest.approx(0.3)


def test_the_book_is_readable_by_its_owner_only(tmp_path):
    path = tmp_path / "book.sqlite"
    book = BudgetBook(path)
    book.reserve(RUN, **TERMS)
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    book.close()


def test_files_that_are_no_usable_book(tmp_path):
    garbage = tmp_path / "garbage.sqlite"
    garbage.write_bytes(b"not a database" * 100)
    refused(lambda: BudgetBook(garbage), "TW4106")
    refused(lambda: BudgetBook(tmp_path / "no" / "folder.sqlite"), "TW4106")
    newer = tmp_path / "newer.sqlite"
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    refused(lambda: BudgetBook(newer), "TW4107")


def test_a_file_that_is_locked_by_someone_refuses_and_charges_nothing(tmp_path, book):
    book.reserve(RUN, **TERMS)
    book._file.connection.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(tmp_path / "book.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    refused(lambda: book.mark(RUN, epoch=1, step=1), "TW4106")
    refused(lambda: book.reserve(OTHER, **TERMS), "TW4106")
    other.execute("ROLLBACK")
    other.close()
    book.mark(RUN, epoch=1, step=1)
    assert book.attempts_left(RUN) == 32


@pytest.mark.parametrize("bad", [{"attempts": 0}, {"mu2_per_attempt": 0.0},
                                 {"mu2_per_attempt": float("nan")},
                                 {"mu2_per_attempt": float("inf")}])  # fmt: skip
def test_no_free_runs(book, bad):
    refused(lambda: book.reserve(RUN, **TERMS | bad), "TW4001")
