"""Copies, clones and old backups of a node, tried against the real ledger: none of them trains."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from hospital_node.privacy.book import BudgetBook
from hospital_node.privacy.fence import Fence, recover
from ledger.chain import Kind
from tests.simulators.ledger.network import LedgerNetwork, RunningNode
from twinward.errors import BudgetError

PLAN = b"\x7a" * 32
RUNS = [f"{number:064x}" for number in range(1, 9)]
TERMS = {"plan_digest": PLAN, "attempts": 33, "mu2_per_attempt": 0.002}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    node = RunningNode(tmp_path_factory.mktemp("ledger"))
    network = LedgerNetwork(node.url, genesis=node.genesis.hash(), hospitals=6)
    network.coordinator.record(b"\x5d" * 32, Kind.STUDY)
    network.coordinator.record(PLAN, Kind.PLAN, [b"\x5d" * 32])
    for hospital in network.hospitals:
        hospital.approve(PLAN)
    network.unused = iter(network.hospitals)
    yield network
    network.close()
    node.stop()


@pytest.fixture
def ledger(network):
    """A hospital of its own for each test."""
    return next(network.unused)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "book.sqlite"


def copied(path, to):
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)
    return to


def put_back(copy, path):
    for each in path.parent.glob(path.name + "*"):
        each.unlink()
    shutil.copy(copy, path)


def refused(call, code):
    with pytest.raises(BudgetError) as refusal:
        call()
    assert refusal.value.code == code
    return refusal.value.diagnostic


def run_of(book, ledger, run):
    """What a node does before it computes anything."""
    micro = book.reserve(run, **TERMS)
    ledger.reserve(bytes.fromhex(run), plan=PLAN, micro_mu2=micro)


def test_restored_cloned_and_crashed_nodes(network, ledger, path, tmp_path):
    book = BudgetBook(path)
    fence = Fence.take(book, ledger)
    assert fence.number == 1
    fence.require_newest()
    run_of(book, ledger, RUNS[0])
    before_a_run = copied(path, tmp_path / "before.sqlite")
    run_of(book, ledger, RUNS[1])
    after_it = copied(path, tmp_path / "after.sqlite")
    book.close()

    # Roll-back: the book of before a run that is on the ledger.
    with closing(BudgetBook(before_a_run)) as old:
        found = refused(lambda: Fence.take(old, ledger), "TW4105")
        assert "66000 are in the book" in found.note
    assert ledger.fence(ledger.account) == 1, "a refused copy takes no number"

    # An honest start; then a clone made before it.
    with closing(BudgetBook(path)) as book:
        fence = Fence.take(book, ledger)
        assert fence.number == 2
        with closing(BudgetBook(after_it)) as clone:
            refused(lambda: Fence.take(clone, ledger), "TW4310")
        fence.require_newest()

        # A clone of the running node: the newest goes on, the other stops before its next run.
        with closing(BudgetBook(copied(path, tmp_path / "twin.sqlite"))) as twin:
            newest = Fence.take(twin, ledger)
            refused(fence.require_newest, "TW4310")
            newest.require_newest()
            run_of(twin, ledger, RUNS[2])
        refused(lambda: Fence.take(book, ledger), "TW4105")

        # The hospital decides that this one is left, and every patient pays for what it forgot.
        spent = book.spent_mu2()
        assert recover(book, ledger) == 66_000
        assert book.spent_mu2() == pytest.approx(spent + 0.066)
        assert recover(book, ledger) == 0, "again changes nothing"
        assert Fence.take(book, ledger).number == 4


def test_a_reservation_that_never_reached_the_ledger_hides_no_other(ledger, path, tmp_path):
    """A total could be made up: the book has one run too many, and one too few."""
    with closing(BudgetBook(path)) as book:
        Fence.take(book, ledger)
        book.reserve(RUNS[0], **TERMS)  # the ledger was down: not sent
        old = copied(path, tmp_path / "old.sqlite")
        run_of(book, ledger, RUNS[1])
    with closing(BudgetBook(old)) as book:
        assert sum(book.reserved().values()) == ledger.spent_by(ledger.account)
        refused(lambda: Fence.take(book, ledger), "TW4105")


def test_a_reservation_of_another_price_is_not_the_same(ledger, path):
    with closing(BudgetBook(path)) as book:
        book.reserve(RUNS[0], plan_digest=PLAN, attempts=1, mu2_per_attempt=0.001)
        ledger.reserve(bytes.fromhex(RUNS[0]), plan=PLAN, micro_mu2=1001)
        refused(lambda: Fence.take(book, ledger), "TW4105")


class Dies(Exception):
    pass


class DyingLedger:
    """The real ledger, whose answer to `raise_fence` is lost."""

    def __init__(self, ledger, *, applied):
        self._ledger, self._applied = ledger, applied

    def __getattr__(self, name):
        return getattr(self._ledger, name)

    def raise_fence(self):
        if self._applied:
            self._ledger.raise_fence()
        raise Dies


def test_a_start_that_died_on_the_way_can_be_made_again_and_again(ledger, path):
    for applied in (False, True, True, False):
        with closing(BudgetBook(path)) as book, pytest.raises(Dies):
            Fence.take(book, DyingLedger(ledger, applied=applied))
    with closing(BudgetBook(path)) as book:
        assert Fence.take(book, ledger).number == 3


def test_two_that_start_at_the_same_time_are_not_both_the_node(ledger, path, tmp_path):
    with closing(BudgetBook(path)) as book:
        Fence.take(book, ledger)
        twin_path = copied(path, tmp_path / "twin.sqlite")

        class Overtaken(DyingLedger):
            def raise_fence(self):
                with closing(BudgetBook(twin_path)) as twin:
                    self.other = Fence.take(twin, self._ledger)
                return self._ledger.raise_fence()

        overtaken = Overtaken(ledger, applied=True)
        refused(lambda: Fence.take(book, overtaken), "TW4310")
        refused(overtaken.other.require_newest, "TW4310")


def test_a_backup_that_was_put_back_on_the_same_machine_is_refused_before_the_ledger_is_asked(
    ledger, path, tmp_path
):
    memory = tmp_path / "memory"
    memory.mkdir()
    killed = BudgetBook(path, memory=memory)
    Fence.take(killed, ledger)
    run_of(killed, ledger, RUNS[0])
    backup = copied(path, tmp_path / "backup.sqlite")
    killed.mark(RUNS[0], epoch=1, step=1)
    killed.close()
    put_back(backup, path)
    refused(lambda: BudgetBook(path, memory=memory), "TW4108")
    # After a restart of the machine the ledger agrees with it; but its run is over.
    with closing(BudgetBook(path)) as book:
        Fence.take(book, ledger)
        refused(lambda: book.mark(RUNS[0], epoch=2, step=1), "TW4109")
        assert book.spent_mu2() == pytest.approx(0.066)
