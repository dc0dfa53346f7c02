"""A network that a hospital joins: three founders, whose nodes need not run, and a coordinator."""

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulators.network import SLACK, eventually, twinward
from twinward.demo.stage import Stage, free_ports

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
        self.up("coordinator", "server")

    def up(self, name, role="node"):
        """Start a daemon and wait until it says that it is up."""
        self.stage.up(name, role, "up", name)
        self.stage.wait_for(name, f"` is up: {'127' if role == 'server' else 'consent desk'}")

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

    def endorse(self, name=NEW, *, by=FOUNDERS[:2]):
        """These founders endorse who asks in this name."""
        for founder in by:
            waiting = self.do("node", "endorse", founder)["candidates"]
            identity = next(one["identity"] for one in waiting if one["hospital"] == name)
            self.do("node", "endorse", founder, name, "--identity", identity)

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

    def members(self):
        return self.do("server", "members", "coordinator")

    def is_asking(self, name=NEW):
        return name in {one["org"] for one in self.members()["candidates"]}


def end_of(process):
    """Exit status and object of a begun join."""
    out, err = process.communicate(timeout=SLACK)
    return process.returncode, json.loads(out.splitlines()[-1]) if out else err


@contextmanager
def founded(folder):
    """A network with its coordinator up; everything ends with the block."""
    made = Founded(folder)
    with made.stage:
        made.found()
        yield made


__all__ = ["FOUNDERS", "NEW", "Founded", "end_of", "eventually", "founded"]
