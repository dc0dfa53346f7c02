"""One way to spend: through the patients' accounts, then the book, then the ledger."""

import ast
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import hospital_node
from hospital_node.privacy import spending
from hospital_node.privacy.book import BudgetBook
from hospital_node.privacy.lifetime import Lifetime
from twinward.errors import BudgetError

RUN = "a1" * 32
NUMBERS = SimpleNamespace(attempts=4, mu2_per_attempt=0.25, mu=1.0, divisible=True)
EVERYONE = np.ones(3, dtype=bool)


@pytest.fixture
def node(tmp_path):
    book = BudgetBook(tmp_path / "book")
    lifetime = Lifetime(
        tmp_path / "accounts", key=b"k" * 32, records=["A", "B", "C"], limit_mu2=1.5
    )
    with closing(book), closing(lifetime):
        yield SimpleNamespace(book=book, lifetime=lifetime)


def reserve(node, *, run=RUN, wanted=EVERYONE, at_least=1):
    return spending.reserve(
        node.book, node.lifetime, NUMBERS,
        run=run, plan_digest=b"p", what="training", wanted=wanted, at_least=at_least,
    )  # fmt: skip


def spent(node):
    return [node.lifetime.standing(row).spent_mu2 for row in range(3)]


def test_run_and_patients_are_charged_together_and_what_was_never_made_comes_back(node):
    assert reserve(node) == 1_000_000
    assert spent(node) == [1.0, 1.0, 1.0]
    node.book.mark(RUN, epoch=1, step=1)
    for _ in range(2):
        spending.close(node.book, node.lifetime, RUN)
        assert spent(node) == [0.25, 0.25, 0.25]
    with pytest.raises(BudgetError, match="no open reservation"):
        reserve(node)


def test_what_the_patients_cannot_pay_stands_in_no_book(node):
    reserve(node, wanted=np.array([True, True, False]))
    with pytest.raises(BudgetError) as refused:
        reserve(node, run="b2" * 32, at_least=2)
    assert refused.value.code == "TW4100"
    assert set(node.book.reserved()) == {RUN}
    assert spent(node) == [1.0, 1.0, 0.0]


def test_a_run_of_the_book_that_the_accounts_do_not_know_is_charged_to_all(node):
    node.book.reserve(RUN, plan_digest=b"p", attempts=4, mu2_per_attempt=0.25)
    for _ in range(2):
        spending.catch_up(node.book, node.lifetime)
        assert spent(node) == [1.0, 1.0, 1.0]


def test_the_nodes_code_has_no_other_way_to_reserve_or_to_give_back():
    """Whatever is published later has to be paid for by the same accounts."""
    alone = {"reserve", "close_run", "begin", "end"}
    found = set()
    folder = Path(hospital_node.__file__).parent
    for path in folder.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                of = call.func.value
                name = getattr(of, "attr", getattr(of, "id", ""))
                if call.func.attr in alone and name in {"book", "lifetime"}:
                    found.add(path.relative_to(folder).as_posix())
    assert found == {"privacy/spending.py", "privacy/audit/subject.py"}
