"""The book never under-counts: not after a crash, a restored backup, or a fault of the disk."""

import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading

import pytest

from hospital_node.privacy.book import LIFETIME_MU2, BudgetBook
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


def test_a_lifetime_holds_seven_runs_and_refuses_the_eighth(book):
    for number in range(7):
        book.reserve(f"{number:064x}", **TERMS)
    before = book.spent_mu2()
    refused(lambda: book.reserve(RUN, **TERMS), "TW4100")
    assert book.spent_mu2() == before
    assert book.attempts_left(RUN) is None
    assert book.left_mu2() == pytest.approx(LIFETIME_MU2 - 7 * ONE)


def test_a_lower_limit_of_the_caller_bites_first(book):
    refused(lambda: book.reserve(RUN, limit_mu2=ONE / 2, **TERMS), "TW4100")
    book.reserve(RUN, limit_mu2=2 * ONE, **TERMS)


def test_asking_again_on_the_same_terms_is_paid_once(book):
    assert book.reserve(RUN, **TERMS) == book.reserve(RUN, **TERMS)
    assert book.reserved_micro_mu2() == 71852
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
    assert book.reserved_micro_mu2() == 71852, "the ledger never gives back"
    refused(lambda: book.mark(RUN, epoch=1, step=30), "TW4102")
    refused(lambda: book.reserve(RUN, **TERMS), "TW4102")


def test_a_restored_backup_cannot_reset_the_spend(tmp_path):
    path, backup = tmp_path / "book.sqlite", tmp_path / "backup.sqlite"
    book = BudgetBook(path)
    on_ledger = book.reserve(RUN, **TERMS)
    book.close()
    shutil.copy(path, backup)
    book = BudgetBook(path)
    on_ledger += book.reserve(OTHER, **TERMS)
    book.require_at_least(on_ledger)
    book.close_run(OTHER)
    book.require_at_least(on_ledger)
    book.close()
    for old in (backup, tmp_path / "fresh.sqlite"):
        restored = BudgetBook(old)
        refused(lambda restored=restored: restored.require_at_least(on_ledger), "TW4105")
        restored.close()


CRASH = """
    import os, signal, sys
    from pathlib import Path
    from hospital_node.privacy.book import BudgetBook
    book = BudgetBook(Path(sys.argv[1]))
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
    book = BudgetBook(path)
    assert book.attempts_left(RUN) == 28
    assert book.spent_mu2() == pytest.approx(33 * 0.002)
    refused(lambda: book.mark(RUN, epoch=1, step=4), "TW4104")
    book.close()


def test_two_books_on_one_file_cannot_pass_the_limit_together(tmp_path):
    """A second process of the same node, in the same instant: one of them is refused."""
    books = [BudgetBook(tmp_path / "b.sqlite", lifetime_mu2=1.5 * ONE) for _ in range(2)]
    start, outcomes = threading.Barrier(2), []

    def reserve(book, run):
        start.wait()
        try:
            outcomes.append(book.reserve(run, **TERMS))
        except BudgetError as error:
            outcomes.append(error.code)

    threads = [
        threading.Thread(target=reserve, args=(book, run))
        for book, run in zip(books, (RUN, OTHER), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["71852", "TW4100"]
    for book in books:
        book.close()


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
    book._db.execute("PRAGMA busy_timeout = 50")
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
