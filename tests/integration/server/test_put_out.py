"""Who was put out stands on the ledger: a coordinator's folder from a backup reads it back."""

import asyncio
import shutil
from contextlib import closing

import pytest

from ledger.chain import Chain, LedgerMember
from ledger.deployed import contracts_of
from ledger.embedded.genesis import Genesis
from server.coordinator import Coordinator
from server.gate import Gate
from server.invitations import LEFT, REVOKED, Register
from server.paths import ServerPaths
from server.put_out import PutOut
from tests.simulators.founding import NOW, Paper
from tests.simulators.ledger.network import RunningNode
from twinward import canonical
from twinward.clock import FixedClock


class Place:
    """A coordinator's register beside its ledger; ``backup`` and ``restore`` the former."""

    def __init__(self, paper, founding, chain):
        self.paper, self.founding, self.chain = paper, founding, chain
        self.path = ServerPaths(paper.home.folder).register
        self.put_out = PutOut(chain, paper.home.identity())
        Register(self.path).close()

    def member(self, name):
        return self.founding.member(name).fingerprint

    def does(self, name, why):
        """The coordinator's staff put a hospital out, or with None take it back."""
        with closing(Register(self.path)) as register:
            if why is None:
                register.take_back(self.member(name))
            else:
                register.put_out(self.member(name), name, why=why, now=NOW)

    def up(self):
        """The daemon starts, and stays long enough to look once; who is out then, and why."""
        with closing(Register(self.path)) as register:
            self.put_out.read_back(register, self.founding, now=NOW)
            self.put_out.record(register, self.founding)
            orgs = {one.fingerprint: one.org for one in self.founding.hospitals}
            return {orgs[name]: why for name, why in register.out().items()}

    def backup(self):
        return shutil.copy(self.path, self.path.with_suffix(".backup"))

    def restore(self, backup):
        for path in self.path.parent.glob("register.sqlite*"):
            path.unlink()
        shutil.copy(backup, self.path)


@pytest.fixture
def place(tmp_path):
    paper = Paper(tmp_path, now=NOW)
    founding = paper.found()
    genesis = Genesis.from_json(canonical.encode(founding.chain["genesis"]))
    node = RunningNode(ServerPaths(paper.home.folder).ledger, genesis)
    node.clock.at = NOW + 60
    chain = Chain.connect(
        node.url,
        genesis=bytes.fromhex(founding.chain["genesis_hash"]),
        contracts=contracts_of(founding),
        key=paper.home.ledger_key(),
    )
    members = [LedgerMember.of(one) for one in founding.founders]
    with closing(chain):
        chain.deploy(founding_digest=founding.digest, members=members)
        yield Place(paper, founding, chain)
    node.stop()


def test_who_was_put_out_after_the_backup_is_put_out_again_and_who_is_back_is_not(place):
    place.does("station", REVOKED)
    assert place.up() == {"station": REVOKED}
    backup = place.backup()
    place.does("station", None)
    place.does("meadow", REVOKED)
    place.does("harbour", LEFT)
    assert place.up() == {"meadow": REVOKED, "harbour": LEFT}
    place.restore(backup)
    assert place.up() == {"meadow": REVOKED, "harbour": LEFT}


def test_what_was_undone_stays_undone_over_starts(place):
    for _ in range(2):
        place.does("meadow", REVOKED)
        assert place.up() == {"meadow": REVOKED}
        place.does("meadow", None)
        assert place.up() == {}
    assert place.up() == {}


def test_what_staff_say_of_a_restored_folder_holds_only_where_it_keeps_somebody_out(place):
    backup = place.backup()
    place.does("meadow", REVOKED)
    place.up()
    place.does("meadow", None)
    place.does("harbour", REVOKED)
    place.up()
    place.restore(backup)
    place.does("meadow", REVOKED)  # they may have learnt why meanwhile
    place.does("harbour", None)
    assert place.up() == {"meadow": REVOKED, "harbour": REVOKED}
    place.restore(backup)
    assert place.up() == {"meadow": REVOKED, "harbour": REVOKED}
    place.does("harbour", None)
    assert place.up() == {"meadow": REVOKED}


def test_a_coordinator_that_died_before_it_noted_the_block_does_not_undo_it(place):
    before = place.backup()
    place.does("meadow", REVOKED)
    place.up()
    place.restore(before)
    place.does("meadow", REVOKED)  # the register as it was, without the note of the block
    assert place.up() == {"meadow": REVOKED}
    place.does("meadow", None)
    assert place.up() == {}


def test_nobody_tells_from_the_ledger_who_was_put_out_nor_puts_anybody_out(place):
    place.does("meadow", REVOKED)
    place.up()
    stranger = PutOut(place.chain, place.paper.members["harbour"].identity())
    with closing(Register(place.path.with_name("other.sqlite"))) as register:
        stranger.read_back(register, place.founding, now=NOW)
        assert register.out() == {}
        register.put_out(place.member("station"), "station", why=REVOKED, now=NOW)
        stranger.record(register, place.founding)
    assert place.up() == {"meadow": REVOKED}


def test_when_a_hospital_called_last_is_known_after_a_restart(place):
    home, clock = place.paper.home, FixedClock(NOW)

    def up(register):
        coordinator = Coordinator(
            paths=ServerPaths(home.folder), settings=None, founding=place.founding,
            identity=home.identity(), chain=place.chain, superlink=None, ledger=None, audit=None,
        )  # fmt: skip
        return coordinator, Gate(coordinator, register, clock=clock)

    harbour = place.member("harbour")
    with closing(Register(place.path)) as register:
        coordinator, gate = up(register)
        assert coordinator.seen == {}
        coordinator.seen[harbour] = NOW
        asyncio.run(gate.keep())
    with closing(Register(place.path)) as register:
        assert up(register)[0].seen == {harbour: NOW}
