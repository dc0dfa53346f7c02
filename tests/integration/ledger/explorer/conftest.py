"""One audited network for a module; each test signs in as whom it needs."""

import itertools
import re
from contextlib import closing

import pytest

from ledger.explorer.entrance import entrance
from ledger.explorer.journal import journal_of
from ledger.explorer.pages import EXPORTS, PAGES
from ledger.explorer.running import load_founding, state_of
from ledger.explorer.site import Explorer
from ledger.explorer.standing import Source
from tests.simulators.explorer.world import DAY, START, World
from tests.simulators.web.client import visit
from twinward.clock import FixedClock

ORIGIN = "https://audit.example"
PASSPHRASE = "correct horse battery"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("world"))
    made.sign_checkpoint(witnesses=("basel", "bern"))
    return made


@pytest.fixture
def clock():
    return FixedClock(START + 10 * DAY)


@pytest.fixture
def explorer(world, clock):
    state = state_of(world.audited)
    founding = load_founding(world.audited)
    source = Source(world.audited, state, founding=founding, url=None, clock=clock)
    source.refresh()
    with (
        journal_of(world.audited, founding=founding, clock=clock, site=ORIGIN) as journal,
        closing(
            Explorer(origin=ORIGIN, state=state, source=source, clock=clock, journal=journal)
        ) as made,
    ):
        yield made


@pytest.fixture
def stranger(explorer):
    """Somebody who is not signed in."""
    with visit(explorer.application(PAGES, EXPORTS, entrance(explorer)), ORIGIN) as visitor:
        yield visitor


def send(visitor, path, **fields):
    """Fill in the form of a page and send it, as a browser would."""
    csrf = re.search(r'name="csrf" value="(\w+)"', visitor.get(path).text)[1]
    return visitor.post(path, data={**fields, "csrf": csrf}, headers={"origin": visitor.origin})


def let_in(explorer, visitor, *, studies=None, days=30.0):
    """Invite somebody new and accept, as the coordinator and the auditor do."""
    name = f"auditor-{next(_numbers)}"
    until = explorer.shell.clock.now() + days * DAY
    code = explorer.auditors.invite(name, studies=studies, until=until)
    answer = send(visitor, "/join", name=name, code=code, passphrase=PASSPHRASE)
    assert answer.status_code == 303, answer.text
    return name


@pytest.fixture
def auditor(explorer, stranger):
    """An auditor who may see everything."""
    let_in(explorer, stranger)
    return stranger
