"""The banner: never more than was checked, and red when something contradicts."""

from dataclasses import replace

import pytest

from ledger.explorer.running import load_founding, state_of
from ledger.explorer.standing import Source
from ledger.questions.workspace import CHECKPOINTS
from tests.simulators.explorer.world import World
from twinward.clock import FixedClock


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return World(tmp_path_factory.mktemp("standing"))


@pytest.fixture
def world(made):
    yield made
    for path in (made.audited / CHECKPOINTS).glob("*"):
        path.unlink()


def standing(world, *, url=None):
    founding, state = load_founding(world.audited), state_of(world.audited)
    source = Source(world.audited, state, founding=founding, url=url, clock=FixedClock(1.8e9))
    return source.refresh()


def test_without_a_signature_nothing_is_verified(world):
    found = standing(world)
    assert (found.level, found.checkpoint, found.checked_at) == ("warn", None, None)
    assert found.headline.startswith("Not verified")
    assert "1 operator, 0 witnesses" in found.details


def test_a_signed_checkpoint_with_witnesses_verifies_all_events(world):
    world.sign_checkpoint(witnesses=("basel", "genf"))
    found = standing(world)
    assert found.headline.startswith(f"Verified against checkpoint {len(world.events)} at 2027-")
    assert "1 operator, 2 witnesses" in found.details
    assert found.witnesses == ("basel", "genf")


def test_an_older_checkpoint_says_how_much_it_lacks(world):
    world.sign_checkpoint(events=world.events[:-3])
    found = standing(world)
    assert found.checkpoint == len(world.events) - 3
    assert "3 newer events are not in it yet" in found.details


def test_a_checkpoint_of_another_history_is_a_contradiction(world):
    changed = list(world.events)
    changed[20] = replace(changed[20], transaction=bytes(32))
    world.sign_checkpoint(events=changed)
    found = standing(world)
    assert found.level == "bad"
    assert "Do not rely on these pages" in found.headline


def test_a_hidden_event_is_a_contradiction(world):
    hidden = [replace(e, number=n) for n, e in enumerate(world.events[:9] + world.events[10:], 1)]
    world.sign_checkpoint(events=hidden)
    assert standing(world).level == "bad"


def test_nobody_but_the_coordinator_makes_a_checkpoint(world):
    world.sign_checkpoint(signer="basel")
    found = standing(world)
    assert found.checkpoint is None
    assert found.level == "warn"


def test_a_ledger_that_does_not_answer_is_said(world):
    world.sign_checkpoint()
    found = standing(world, url="http://127.0.0.1:9")
    assert found.checkpoint == len(world.events)
    assert found.level == "warn"
    assert "the ledger does not answer now" in found.details
