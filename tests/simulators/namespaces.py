"""A network whose members stand on machines of their own: namespaces, joined by one switch.

Coordinator behind a real nginx at ``hub.test``, three hospitals, one that joins later, and an HTTP
proxy that wants a password, which two of them have to go through. Nothing leaves the namespaces.
Needs root.
"""

import contextlib
import ctypes
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hospital_node import watch
from server.invitations import Register
from server.paths import ServerPaths
from tests.simulators import link
from tests.simulators.network import JOIN_SECONDS, PATIENTS, SLACK, Run, eventually
from twinward.demo.stage import Stage
from twinward.errors import TwinwardError

HUB, DOOR = "hub.test", 443
COORDINATOR, PROXY = "coordinator", "proxy"
HOSPITALS = ("harbour", "meadow", "summit")
BEHIND_PROXY = "summit"
JOINING = "abbey"
"""Joins by token, behind the proxy too; nothing of it is there at first."""
CREDENTIALS = "hospital:opensesame\n"
PLACES = {COORDINATOR: 1, "harbour": 11, "meadow": 12, "summit": 13, JOINING: 14, PROXY: 50}
STUDY = "heart-risk"
FORWARDER = 9600
_NET = "10.77.0."
_CLONE_NEWNET = 0x40000000


def require_tools():
    """Skip, and say why, where namespaces or a tool are not to be had."""
    if os.geteuid() != 0:
        pytest.skip("namespaces need root")
    for tool in ("ip", "nginx", "tinyproxy", "nft", "curl"):
        if shutil.which(tool) is None:
            pytest.skip(f"`{tool}` is not installed")
    made = subprocess.run(["ip", "netns", "add", "tw-probe"], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("this machine does not permit network namespaces")
    run("ip", "netns", "del", "tw-probe")


def run(*words, check=True):
    """A command, to its end."""
    return subprocess.run(words, capture_output=True, text=True, check=check, timeout=SLACK)


@dataclass(slots=True)
class PlacedStage(Stage):
    """Runs each command on the machine whose folder it names."""

    machines: object = None

    def _spawn(self, words, **streams):
        named = (word.split(".")[0].removeprefix("patients-") for word in words[2:])
        where = next((name for name in named if name in PLACES), COORDINATOR)
        return subprocess.Popen(
            [*self.machines.exec_at(where), sys.executable, "-m", "twinward", *words],
            cwd=self.folder,
            stdin=streams.get("stdin", subprocess.DEVNULL),
            stdout=streams["stdout"],
            stderr=streams["stderr"],
            env=os.environ | {"NO_COLOR": "1"},
        )


class Machines:
    """One namespace for each place and one for the switch; all gone at the end."""

    def __init__(self):
        self._prefix = f"tw{os.getpid()}"
        self.switch = f"{self._prefix}-switch"

    def name(self, place):
        return f"{self._prefix}-{place}"

    def address(self, place):
        return f"{_NET}{PLACES[place]}"

    def port(self, place):
        """The switch's end of a place's cable."""
        return f"p{PLACES[place]}"

    def exec_at(self, place):
        return ["ip", "netns", "exec", self.name(place)]

    def __enter__(self):
        try:
            run("ip", "netns", "add", self.switch)
            run("ip", "-n", self.switch, "link", "add", "name", "br0", "type", "bridge")
            run("ip", "-n", self.switch, "link", "set", "br0", "up")
            for place in PLACES:
                self._make(place)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _make(self, place):
        name, port = self.name(place), self.port(place)
        hosts = Path("/etc/netns") / name / "hosts"
        hosts.parent.mkdir(parents=True, exist_ok=True)
        lines = ["127.0.0.1 localhost", f"{self.address(PROXY)} proxy.test"]
        if place not in (BEHIND_PROXY, JOINING):  # who has a proxy need not even know the name
            lines.append(f"{self.address(COORDINATOR)} {HUB}")
        hosts.write_text("\n".join(lines) + "\n")
        (hosts.parent / "resolv.conf").write_text("")
        run("ip", "netns", "add", name)
        run("ip", "-n", self.switch, "link", "add", port, "type", "veth",
            "peer", "name", "eth0", "netns", name)  # fmt: skip
        run("ip", "-n", self.switch, "link", "set", port, "master", "br0", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", name, "addr", "add", f"{self.address(place)}/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        self.within(place, lambda: link.finish_frames("eth0"))
        if place in (BEHIND_PROXY, JOINING):
            run("ip", "-n", name, "route", "add", "unreachable", self.address(COORDINATOR))

    def __exit__(self, *_):
        for place in PLACES:
            run("ip", "netns", "del", self.name(place), check=False)
            shutil.rmtree(Path("/etc/netns") / self.name(place), ignore_errors=True)
        run("ip", "netns", "del", self.switch, check=False)

    def cable(self, place, state):
        """Pull or plug a place's cable at the switch."""
        run("ip", "-n", self.switch, "link", "set", self.port(place), state)

    @contextlib.contextmanager
    def bad_cable(self, place, *, delay=0.0, loss=0.0, seed=1):
        """Put `tests.simulators.link` into a place's cable for the duration of a block."""
        port, below = self.port(place), f"e{PLACES[place]}"
        run("ip", "-n", self.switch, "link", "add", below, "type", "veth",
            "peer", "name", f"{below}b")  # fmt: skip
        for one in (below, f"{below}b"):
            run("ip", "-n", self.switch, "link", "set", one, "up")
        run("ip", "-n", self.switch, "link", "set", port, "nomaster")
        run("ip", "-n", self.switch, "link", "set", f"{below}b", "master", "br0")
        words = (port, below, "--delay", delay, "--loss", loss, "--seed", seed)
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.switch, sys.executable, link.__file__, *map(str, words)],
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            run("ip", "-n", self.switch, "link", "del", below)
            run("ip", "-n", self.switch, "link", "set", port, "master", "br0")

    def within(self, place, call):
        """What a function gives that runs on this machine; its sockets are that machine's."""
        found = []

        def work():
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{self.name(place)}", encoding="ascii") as namespace:
                if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                    found.append(OSError(ctypes.get_errno(), "setns"))
                    return
            try:
                found.append(call())
            except BaseException as error:  # noqa: BLE001 - raised where it is asked for
                found.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]


@dataclass
class World:
    """Folders of all members under one; use inside ``with machines`` and ``with stage``."""

    folder: Path
    machines: Machines
    stage: Stage = field(init=False)
    services: list = field(default_factory=list)

    def __post_init__(self):
        self.stage = PlacedStage(self.folder, show=lambda _: None, machines=self.machines)

    def do(self, *words):
        return self.stage.command(*map(str, words))

    def found(self):
        """Founding file with one address, plan approved, letters; nothing runs."""
        self.do("experiment", "virtual-hospitals", "data")
        for path in (self.folder / "data").iterdir():
            path.write_text("".join(path.read_text().splitlines(keepends=True)[:PATIENTS]))
        self.do("server", "init", COORDINATOR, "--network", "demo", "--front-door", f"{HUB}:{DOOR}")
        for name in HOSPITALS:
            data = f"data/processed.{name}.data"
            self.do("node", "init", name, "--name", name, "--data", data, "--study", STUDY)
            self.set(name, lifetime_epsilon=20.0)
            self.give_forwarder(name)
        self.set(COORDINATOR, join_window_seconds=2 * JOIN_SECONDS)
        requests = [f"{name}/{name}.request.json" for name in HOSPITALS]
        self.do("server", "found", COORDINATOR, *requests)
        for name in HOSPITALS:
            self.do("node", "sign", name, "coordinator/founding.draft.json")
        signed = [f"--signed={name}/founding.{name}.json" for name in HOSPITALS]
        self.do("server", "found", COORDINATOR, *signed)
        self.do("server", "front-door", COORDINATOR)
        plan = self.do("server", "plan", COORDINATOR, "--study", STUDY, "--slot", 0.02)
        for name in HOSPITALS:
            self.do("node", "accept", name, "coordinator/founding.json")
            self.do("node", "approve", name, plan["study"], plan["plan"], "--no-attack")
            self.do("node", "letters", name, "--study", STUDY, "--out", f"{name}.letters")

    def set(self, name, **values):
        """Change settings in a role's file; they hold from its next start."""
        files = ("coordinator.toml",) if name == COORDINATOR else ("node.toml", "policy.toml")
        for key, value in values.items():
            for path in (self.folder / name / file for file in files):
                path.write_text(re.sub(rf"(?m)^{key} = \S+", f"{key} = {value}", path.read_text()))

    def give_forwarder(self, name):
        lines = ["", "[forwarder]", f"port = {FORWARDER}"]
        if name == BEHIND_PROXY:
            secret = self.folder / name / "secrets" / "proxy"
            secret.write_text(CREDENTIALS)
            secret.chmod(0o600)
            lines += ['proxy = "http://proxy.test:3128"', 'proxy_credentials = "secrets/proxy"']
        with (self.folder / name / "node.toml").open("a") as file:
            file.write("\n".join(lines) + "\n")

    def start(self):
        """Everything, then all patients say yes."""
        self.start_services()
        self.up(COORDINATOR)
        for name in HOSPITALS:
            self.begin(name)
        for name in HOSPITALS:
            self.wait_healthy(name)
            wallet = f"patients-{name}"
            self.do("consent", "grant", "--wallet", wallet, "--letters", f"{name}.letters", "--all")
        for name in HOSPITALS:
            eventually(lambda name=name: self.cohort(name) == PATIENTS)

    def secret(self, name, text):
        """A file that only its owner can read; its path from the folder of all."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return name

    def is_asking(self, name):
        """Whether this name waits for endorsements, by the coordinator's register."""
        with contextlib.closing(
            Register(ServerPaths(self.folder / COORDINATOR).register)
        ) as register:
            return any(one.org == name and not one.admitted for one in register.candidates())

    def start_services(self):
        conf = self.folder / COORDINATOR / "front_door" / "nginx.conf"
        self.service(COORDINATOR, "nginx", "-c", str(conf), "-g", "daemon off;")
        proxy = self.folder / "tinyproxy.conf"
        proxy.write_text(
            "Port 3128\nTimeout 600\nMaxClients 100\n"
            "LogLevel Connect\n"
            "BasicAuth hospital opensesame\nConnectPort 443\n"
        )
        self.service(PROXY, "tinyproxy", "-d", "-c", str(proxy))
        for place, port in ((COORDINATOR, DOOR), (PROXY, 3128)):
            eventually(lambda place=place, port=port: self.answers(place, port))

    def answers(self, place, port):
        with contextlib.suppress(OSError):
            self.machines.within(
                PROXY, lambda: socket.create_connection((self.machines.address(place), port), 5)
            ).close()
            return True
        return False

    def service(self, place, *words):
        with (self.folder / f"{words[0]}.out").open("ab") as out:
            self.services.append(
                subprocess.Popen([*self.machines.exec_at(place), *words], stdout=out, stderr=out)
            )

    def stop_services(self):
        for process in self.services:
            process.terminate()
        for process in self.services:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()

    def begin(self, name):
        self.stage.up(name, "server" if name == COORDINATOR else "node", "up", name)

    def up(self, name):
        self.begin(name)
        eventually(
            lambda: "coordinator of `demo` is up" in self.log(name), note=lambda: self.log(name)
        )

    def status(self, name):
        return watch.status(self.folder / name)

    def cohort(self, name):
        return self.status(name)["studies"][0].get("cohort")

    def is_healthy(self, name):
        process = self.stage.running[name]
        assert process.poll() is None, self.log(name)[-1500:]
        try:
            return self.status(name)["healthy"]
        except TwinwardError:
            return False

    def wait_healthy(self, name):
        eventually(lambda: self.is_healthy(name), seconds=2 * SLACK, note=lambda: self.log(name))

    def log(self, name):
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def run(self):
        """Start a study's run; see `tests.simulators.network.Run`."""
        return Run(self.stage.events("server", "run", COORDINATOR, "--study", STUDY))


@contextlib.contextmanager
def running_world(folder):
    """Everything up, consents given; nothing is left at the end."""
    require_tools()
    with Machines() as machines:
        world = World(folder, machines)
        with world.stage:
            try:
                world.found()
                world.start()
                yield world
            finally:
                world.stop_services()
        time.sleep(0.1)
