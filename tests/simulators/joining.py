"""A network that a hospital joins: three founders, whose nodes need not run, and a coordinator."""

import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hospital_node import watch
from server.invitations import Register
from server.paths import ServerPaths
from tests.simulators.network import PATIENTS, eventually, twinward
from twinward.demo.stage import Stage, free_ports
from twinward.errors import TwinwardError

FOUNDERS = ("harbour", "meadow", "summit")
NEW = "station"
STUDY = ("--study", "heart-risk")


@dataclass
class Founded:
    """Folders ``coordinator`` and one for each hospital, under ``folder``."""

    folder: Path
    stage: Stage = field(init=False)
    port: int = field(init=False)

    def __post_init__(self):
        self.stage = Stage(self.folder, show=lambda _: None)

    def found(self):
        """Three hospitals found a network; the coordinator is up, no node is."""
        self.stage.command("experiment", "virtual-hospitals", "data")
        for path in (self.folder / "data").iterdir():
            path.write_text("".join(path.read_text().splitlines(keepends=True)[:PATIENTS]))
        self.port = free_ports(4 + 2 * 6)
        self.do("server", "init", "coordinator", "--network", "demo", "--base-port", self.port)
        for place, name in enumerate(FOUNDERS):
            ports = ("--base-port", self.port + 4 + 2 * place)
            self.do("node", "init", name, "--name", name, "--data", self.data(name), *STUDY, *ports)
        requests = [f"{name}/{name}.request.json" for name in FOUNDERS]
        self.do("server", "found", "coordinator", *requests)
        for name in FOUNDERS:
            self.do("node", "sign", name, "coordinator/founding.draft.json")
        signed = [f"--signed={name}/founding.{name}.json" for name in FOUNDERS]
        self.do("server", "found", "coordinator", *signed)
        for name in FOUNDERS:
            self.do("node", "accept", name, "coordinator/founding.json")
        self.up("coordinator", role="server")

    def up(self, *names, role="node"):
        """Start daemons and wait until each says that it is up."""
        logs = {name: self.folder / f"{name}.log" for name in names}
        before = {name: len(log.read_text()) if log.exists() else 0 for name, log in logs.items()}
        for name in names:
            self.stage.up(name, role, "up", name)
        ready = "coordinator of `demo` is up" if role == "server" else "is up: consent desk"

        def is_up(name):
            said = logs[name].read_text(errors="replace")[before[name] :]
            assert self.stage.running[name].poll() is None, said
            return ready in said

        for name in names:
            eventually(lambda name=name: is_up(name))

    def do(self, *words):
        """A command that has to succeed; its object."""
        status, answer = self.ask(*words)
        assert status == 0, answer
        return answer

    def ask(self, *words):
        """A command; its exit status and object."""
        return twinward(self.folder, *map(str, words))

    def refused(self, code, *words):
        """A command that has to be refused with this code."""
        status, answer = self.ask(*words)
        assert status != 0, answer
        assert answer["error"]["code"] == code, answer
        return answer["error"]

    def data(self, name):
        return f"data/processed.{name}.data"

    def invite(self, name=NEW, *words):
        return self.do("server", "invite", "coordinator", name, *words)["token"]

    def join_words(self, token, *, name=NEW, folder=None, place=3):
        ports = ("--base-port", self.port + 4 + 2 * place)
        given = () if token is None else (token,)
        return ("node", "join", folder or name, *given, "--data", self.data(NEW), *STUDY, *ports)

    def begin_join(self, token, **which):
        """Start a join and go on; its words come on standard error."""
        words = [*map(str, self.join_words(token, **which)), "--json"]
        return subprocess.Popen(
            [sys.executable, "-m", "twinward", *words],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def is_asking(self, name=NEW):
        """Whether this name waits for endorsements; as the coordinator's register has it."""
        with closing(Register(ServerPaths(self.folder / "coordinator").register)) as register:
            return any(one.org == name and not one.admitted for one in register.candidates())

    def status(self, name):
        """What a node that is up says of itself; None while it does not answer."""
        try:
            return watch.status(self.folder / name)
        except TwinwardError:
            return None


@contextmanager
def founded(folder):
    """A network with its coordinator up; everything ends with the block."""
    made = Founded(folder)
    with made.stage:
        made.found()
        yield made
