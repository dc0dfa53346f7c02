"""In any order of reservations, marks, closings and crashes the book never under-counts."""

import itertools
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hospital_node.privacy.book import BudgetBook
from twinward.errors import BudgetError

LIMIT = 1.0
RUNS = st.sampled_from([f"{number:064x}" for number in range(6)])


class Life(RuleBasedStateMachine):
    """A node's life; the model beside the book remembers what really left."""

    def __init__(self):
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.machine_is_up = True
        self._open()
        self.terms, self.left_the_house, self.ledger = {}, {}, 0
        self.epochs = itertools.count()

    def _open(self):
        folder = Path(self._folder.name)
        self.book = BudgetBook(
            folder / "b.sqlite", lifetime_mu2=LIMIT, memory=folder if self.machine_is_up else None
        )

    @rule(run=RUNS, attempts=st.integers(1, 5), cost=st.sampled_from([0.01, 0.05, 0.1]))
    def reserve(self, run, attempts, cost):
        try:
            self.ledger_add = self.book.reserve(
                run, plan_digest=b"p", attempts=attempts, mu2_per_attempt=cost
            )
        except BudgetError:
            return
        if run not in self.terms:
            self.ledger += self.ledger_add
        assert self.terms.setdefault(run, (attempts, cost)) == (attempts, cost)

    @rule(run=RUNS)
    def send(self, run):
        try:
            self.book.mark(run, epoch=next(self.epochs), step=0)
        except BudgetError:
            return
        self.left_the_house[run] = self.left_the_house.get(run, 0) + 1

    @rule(run=RUNS)
    def finish(self, run):
        self.book.close_run(run)

    @rule(machine_is_up=st.booleans())
    def crash(self, machine_is_up):
        self.machine_is_up = machine_is_up
        self.book.close()
        self._open()

    @invariant()
    def spend_covers_what_left_and_stays_within_the_limit(self):
        left = sum(count * self.terms[run][1] for run, count in self.left_the_house.items())
        assert left - 1e-9 <= self.book.spent_mu2() <= LIMIT
        assert all(count <= self.terms[run][0] for run, count in self.left_the_house.items())
        assert sum(self.book.reserved().values()) == self.ledger

    def teardown(self):
        self.book.close()
        self._folder.cleanup()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
