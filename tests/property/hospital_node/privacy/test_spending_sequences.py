"""In any order of runs, crashes and files put back, no patient's spend is ever under-counted."""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hospital_node.privacy import spending
from hospital_node.privacy.book import BudgetBook
from hospital_node.privacy.lifetime import Lifetime
from twinward.errors import BudgetError

LIMIT = 1.0
PATIENTS = ["MRN-1", "MRN-2", "MRN-3", "MRN-4"]
RUNS = st.sampled_from([f"{number:064x}" for number in range(5)])
PICKS = st.integers(0, 9).map(lambda n: lambda costs: sorted(costs)[n % len(costs)])
MASKS = st.lists(st.booleans(), min_size=4, max_size=4).map(np.array)


def numbers(attempts, cost, divisible):
    return SimpleNamespace(
        attempts=attempts,
        mu2_per_attempt=cost,
        mu=(attempts * cost) ** 0.5,
        divisible=divisible,
    )


class Life(RuleBasedStateMachine):
    """A node's life; the model beside it remembers whose data really left, and how often."""

    def __init__(self):
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.machine_is_up, self.was_put_back = True, False
        self._open()
        self.costs, self.left, self.vectors = {}, np.zeros(4), {}
        self.epoch, self.ledger = 0, {}

    @property
    def accounts(self):
        return Path(self._folder.name) / "accounts.sqlite"

    def _open(self):
        folder = Path(self._folder.name)
        memory = folder if self.machine_is_up else None
        self.book = BudgetBook(folder / "book.sqlite", memory=memory)
        self.lifetime = Lifetime(self.accounts, key=b"k" * 32, records=PATIENTS, limit_mu2=LIMIT)
        spending.catch_up(self.book, self.lifetime)

    def _close(self):
        self.book.close()
        self.lifetime.close()

    @rule(
        run=RUNS,
        attempts=st.integers(1, 5),
        cost=st.sampled_from([0.01, 0.05, 0.1]),
        divisible=st.booleans(),
        wanted=MASKS,
        dies=st.booleans(),
    )
    def reserve(self, run, attempts, cost, divisible, wanted, dies):
        plan = numbers(attempts, cost, divisible)
        try:
            if dies:  # between the accounts and the book
                self.lifetime.begin(run, what="", mu2=plan.mu**2, wanted=wanted)
                return
            micro = spending.reserve(
                self.book, self.lifetime, plan,
                run=run, plan_digest=b"p", what="", wanted=wanted, at_least=0,
            )  # fmt: skip
        except BudgetError:
            return
        self.ledger.setdefault(run, micro)
        self.costs[run] = cost

    @rule(pick=PICKS, vectors=st.integers(1, 4), without=st.integers(0, 7))
    def send(self, pick, vectors, without):
        permitted = np.arange(4) != without
        for _ in range(vectors if self.costs else 0):
            run = pick(self.costs)
            try:
                included = self.lifetime.allowed(run, permitted)
                self.epoch += 1
                self.book.mark(run, epoch=self.epoch, step=0)
            except BudgetError:
                return
            self.left += included * self.costs[run]

    @rule(pick=PICKS, dies=st.booleans())
    def finish(self, pick, dies):
        if not self.costs:
            return
        run = pick(self.costs)
        if dies:
            self.book.close_run(run)
        else:
            spending.close(self.book, self.lifetime, run)

    @rule(row=st.integers(0, 3), limit=st.sampled_from([None, None, 0.2, 5.0]))
    def lower_a_limit(self, row, limit):
        self.lifetime.set_limit(row, limit)

    @rule(machine_is_up=st.booleans())
    def crash(self, machine_is_up):
        self.machine_is_up = machine_is_up
        self._close()
        self._open()

    @rule()
    def back_up(self):
        with closing(sqlite3.connect(self.accounts.with_suffix(".copy"))) as copy:
            self.lifetime._file.connection.backup(copy)

    @rule()
    def put_back_an_old_copy_of_the_accounts(self):
        if not self.accounts.with_suffix(".copy").exists():
            return
        self._close()
        for each in self.accounts.parent.glob("accounts.sqlite*"):
            each.unlink()
        shutil.copy(self.accounts.with_suffix(".copy"), self.accounts)
        self.was_put_back = True
        self._open()

    @invariant()
    def everyone_has_paid_for_what_left(self):
        spent = np.array([self.lifetime.standing(row).spent_mu2 for row in range(4)])
        assert (spent >= self.left - 1e-9).all()
        assert self.was_put_back or (spent <= LIMIT + 1e-9).all()
        assert self.book.reserved() == self.ledger

    def teardown(self):
        self._close()
        self._folder.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
