"""A coordinator's folder as after weeks of use, without its daemon; and the doctor over it."""

import shutil
import time
from contextlib import closing
from pathlib import Path

from ledger.audit.log import AuditLog
from ledger.chain import Chain, LedgerMember
from ledger.deployed import contracts_of
from ledger.embedded.genesis import Genesis
from server import front_door
from server.checkpoints import CheckpointThread
from server.doctor.checks import CHECKS
from server.doctor.place import Place
from server.invitations import Register
from server.paths import ServerPaths
from server.settings import FILE, ServerSettings, write
from server.study_queue import PARKED, StudyQueue
from server.transcript import Transcript
from tests.simulators.founding import Paper
from tests.simulators.ledger.network import RunningNode
from tests.simulators.one_node import Machine
from twinward import __version__, canonical
from twinward.clock import SystemClock
from twinward.demo.stage import free_ports
from twinward.doctor.findings import examine
from twinward.ids import OrgName, RunId

RUN = RunId("5a" * 32)
STUDY = "heart-risk"


class Office:
    """A founded network's coordinator; ``Coordinator(office, folder)`` is a copy of its folder."""

    def __init__(self, folder):
        now = time.time()
        self.paper = Paper(folder, now=now)
        self.first = first = free_ports(6)
        self.home = self.paper.home.folder
        settings = ServerSettings(
            org=OrgName("coordinator"), network="demo", network_port=first, flower_port=first + 1,
            ledger_port=first + 2, join_port=first + 3, keeper_port=first + 4,
            front_door=f"127.0.0.1:{first + 5}",
        )  # fmt: skip
        write(self.home / FILE, settings)
        self.founding = self.paper.found()
        front_door.write(self.home, now=now)
        paths = ServerPaths(self.home)
        Register(paths.register).close()
        self._ledger(paths, now)
        with closing(
            AuditLog(
                paths.audit, org=OrgName("coordinator"), identity=self.paper.home.identity(),
                genesis=bytes.fromhex(self.founding.chain["genesis_hash"]), clock=SystemClock(),
            )
        ) as audit:  # fmt: skip
            audit.did("coordinator-started", by="urn:twinward:node:coordinator")
        with closing(
            Transcript.create(paths.transcript(RUN), run=bytes.fromhex(RUN), plan=bytes(32))
        ) as run:
            run.fail("too few hospitals")
        with closing(StudyQueue(paths.queue)) as queue:
            number = queue.add(STUDY).number
            queue.ended(number, PARKED, code="TW6100", cause="too few hospitals")
            queue.ended(queue.add(STUDY).number, "done")

    def _ledger(self, paths, now):
        genesis = Genesis.from_json(canonical.encode(self.founding.chain["genesis"]))
        node = RunningNode(paths.ledger, genesis)
        node.clock.at = now
        with closing(
            Chain.connect(
                node.url,
                genesis=bytes.fromhex(self.founding.chain["genesis_hash"]),
                contracts=contracts_of(self.founding),
                key=self.paper.home.ledger_key(),
            )
        ) as chain:
            members = [LedgerMember.of(member) for member in self.founding.founders]
            chain.deploy(founding_digest=self.founding.digest, members=members)
        (self.home / "checkpoints").mkdir()
        CheckpointThread(
            self.home, state=paths.checkpoints, identity=self.paper.home.identity(),
            every_seconds=9.0, url=node.url,
        ).sign()  # fmt: skip
        node.stop()


class Clocked(Machine):
    """This machine, with something changed."""

    kept = True

    def is_clock_kept(self):
        return self.kept


class Coordinator:
    """A copy of the folder that a test may damage."""

    def __init__(self, office, folder):
        self.office = office
        self.folder = Path(shutil.copytree(office.home, folder / "coordinator"))
        self.place = Place(self.folder, machine=Clocked(), timeout=2.0)
        self.paths = ServerPaths(self.folder)

    def edit(self, file, old, new):
        path = self.folder / file
        text = path.read_text()
        assert old in text, text
        path.write_text(text.replace(old, new, 1))

    def up(self, **changed):
        """The daemon says this of itself."""
        members = [
            {"org": org, "role": "hospital", "online": True, "seen_seconds_ago": 1}
            for org in self.office.paper.hospitals
        ]
        self.place.status = {
            "pid": 7, "release": __version__, "running": None, "ledger": {"witnesses": 3},
            "members": members, **changed,
        }  # fmt: skip

    def examine(self, *names):
        """Findings of these checks and of those that they need, by name."""
        wanted, known = set(names), {check.name: check for check in CHECKS}
        while more := {need for name in wanted for need in known[name].needs} - wanted:
            wanted |= more
        chosen = [check for check in CHECKS if not names or check.name in wanted]
        return {found.check: found for found in examine(self.place, chosen)}
