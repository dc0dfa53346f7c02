"""Patients who train and patients who are held out pay for different releases, in one book."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hospital_node.privacy.book import BudgetBook
from twinward import gdp
from twinward.errors import BudgetError
from twinward.ids import RunId

PLAN = b"p" * 32
TRAINED, HELD_OUT = (0.2, 1.0), (0.0, 0.2)


@pytest.fixture
def book(tmp_path):
    with closing(BudgetBook(tmp_path / "book", lifetime_mu2=1.0)) as book:
        yield book


def reserve(book, name, cost, places):
    return book.reserve(
        RunId(name * 64), plan_digest=PLAN, attempts=1, mu2_per_attempt=cost, places=places
    )


def test_training_and_evaluation_do_not_add_up_in_anyone(book):
    reserve(book, "a", 0.8, TRAINED)
    reserve(book, "b", 0.9, HELD_OUT)
    assert book.spent_mu2(TRAINED) == pytest.approx(0.8)
    assert book.spent_mu2(HELD_OUT) == pytest.approx(0.9)
    assert book.spent_mu2() == pytest.approx(0.9)
    assert book.left_mu2() == pytest.approx(0.1)


def test_each_kind_of_patient_has_the_whole_limit_and_no_more(book):
    reserve(book, "a", 0.8, TRAINED)
    reserve(book, "b", 0.8, HELD_OUT)
    for places in (TRAINED, HELD_OUT):
        with pytest.raises(BudgetError) as refused:
            reserve(book, "c", 0.3, places)
        assert refused.value.code == "TW4100"


def test_patients_between_two_hold_out_shares_pay_for_both(book):
    """Held out in one plan, trained on in another: they pay for the one's evaluation too."""
    reserve(book, "a", 0.6, (0.0, 0.3))  # evaluation of a plan with share .3
    reserve(book, "b", 0.3, (0.1, 1.0))  # training of a plan with share .1
    assert book.spent_mu2((0.1, 0.3)) == pytest.approx(0.9)
    assert book.spent_mu2((0.0, 0.1)) == pytest.approx(0.6)
    with pytest.raises(BudgetError):
        reserve(book, "c", 0.2, (0.1, 1.0))
    reserve(book, "d", 0.2, (0.3, 1.0))


def test_a_plan_without_evaluation_charges_everyone(book):
    reserve(book, "a", 0.6, HELD_OUT)
    with pytest.raises(BudgetError):
        book.reserve(RunId("b" * 64), plan_digest=PLAN, attempts=1, mu2_per_attempt=0.5)


def test_the_same_run_for_other_patients_is_other_terms(book):
    reserve(book, "a", 0.1, HELD_OUT)
    with pytest.raises(BudgetError) as refused:
        reserve(book, "a", 0.1, TRAINED)
    assert refused.value.code == "TW4101"


@pytest.mark.parametrize("places", [(0.5, 0.5), (-0.1, 1.0), (0.0, 1.1), (0.7, 0.2)])
def test_places_that_are_no_part_of_the_patients_are_refused(book, places):
    with pytest.raises(BudgetError) as refused:
        reserve(book, "a", 0.1, places)
    assert refused.value.code == "TW4001"
    assert book.spent_mu2() == 0


@given(mu2=st.floats(1e-6, 4), attempts=st.integers(1, 40))
def test_a_limit_of_exactly_the_price_holds_one_run_and_not_a_second(
    tmp_path_factory, mu2, attempts
):
    """As with a lifetime of epsilon 3 and an evaluation at epsilon 3."""
    path = tmp_path_factory.mktemp("book") / "book"
    with closing(BudgetBook(path, lifetime_mu2=mu2)) as book:
        book.reserve(
            RunId("a" * 64), plan_digest=PLAN, attempts=attempts, mu2_per_attempt=mu2 / attempts
        )
        with pytest.raises(BudgetError):
            book.reserve(
                RunId("b" * 64), plan_digest=PLAN, attempts=attempts, mu2_per_attempt=mu2 / attempts
            )


def test_a_book_of_the_first_version_charges_everyone_and_is_carried_over(tmp_path):
    path = tmp_path / "book"
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
        with closing(BudgetBook(path, lifetime_mu2=gdp.mu_of(3.0, 1e-5) ** 2)) as book:
            assert book.spent_mu2(HELD_OUT) == book.spent_mu2(TRAINED) == pytest.approx(0.3)
