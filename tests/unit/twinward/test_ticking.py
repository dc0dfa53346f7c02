"""A thread of a daemon that does one thing again and again: nothing that it meets ends it."""

import threading

import pytest

from twinward.errors import InternalError, LedgerError
from twinward.ticking import Ticking

SLACK = 10.0
REFUSED = LedgerError("not now", code="TW5001", help="later")


class Task(Ticking):
    """Meets these things one after the other, then stands still."""

    def __init__(self, *meets, **more):
        super().__init__("counting", **{"every_seconds": 0.0, **more})
        self.meets = list(meets)
        self.told = []
        self.done = threading.Event()

    def tick(self):
        if not self.meets:
            self.done.set()
            self._ended.wait(SLACK)
        elif (met := self.meets.pop(0)) is not None:
            raise met

    def failed(self, error):
        self.told.append(error)


def test_it_goes_on_after_a_refusal_and_after_what_nobody_expected():
    task = Task(REFUSED, None, ZeroDivisionError("by 0"), OSError(28, "No space left"))
    task.start()
    assert task.done.wait(SLACK)
    task.stop()
    refused, unexpected, full = task.told
    assert refused is REFUSED
    assert isinstance(unexpected, InternalError)
    assert unexpected.code == "TW9000"
    assert "ZeroDivisionError" in unexpected.diagnostic.message
    assert "No space left" in full.diagnostic.note


def test_what_was_not_expected_has_the_code_of_whose_thread_it_is():
    task = Task(KeyError("x"), code="TW3561")
    task.start()
    assert task.done.wait(SLACK)
    task.stop()
    assert [one.code for one in task.told] == ["TW3561"]


@pytest.mark.parametrize(("at_once", "ticks"), [(True, True), (False, False)])
def test_the_first_one_comes_at_once_or_after_a_pause_and_an_end_waits_for_no_pause(at_once, ticks):
    task = Task(every_seconds=3600.0, at_once=at_once)
    task.start()
    assert task.done.wait(SLACK if ticks else 0.2) is ticks
    task.stop()
    assert not task._thread.is_alive()


def test_it_may_be_stopped_before_it_began():
    Task().stop()
