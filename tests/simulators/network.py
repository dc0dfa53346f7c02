"""A whole network of real processes on loopback, and what a test may do to them.

Four hospitals with made-up patients; ledger, SuperLink, coordinator and nodes are the installed
commands. Every process ends with the test session, also when that is killed.
"""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from consent import wallet as answering
from consent.patient_keys import Answer, Choice, Wallet
from hospital_node import watch
from hospital_node.data import contract
from hospital_node.paths import NodePaths
from ledger import verify
from ledger.endpoint import Endpoint
from server import order as run_order
from twinward import descent
from twinward.clock import SystemClock
from twinward.demo.network import STUDY, LocalNetwork
from twinward.demo.stage import Stage
from twinward.errors import TwinwardError
from twinward.founding import Founding
from twinward.ids import RunId
from twinward.organisation import Organisation
from twinward.plan import KIND as PLAN_KIND
from twinward.plan import Plan
from twinward.rpc.local import LocalAddress, local_channel
from twinward.rpc.messages_pb2 import Closing, Opening
from twinward.rpc.messages_pb2_grpc import NodeLocalStub
from twinward.rpc.replies import refusal_of
from twinward.signing import Document, random_hex32

SLOT = 0.02
PATIENTS = 60
REFUSE_EVERY = 9
COORDINATOR = "coordinator"
PACE = max(1.0, min(4.0, os.getloadavg()[0] / (os.cpu_count() or 1)))
"""How much longer than on an idle machine things take here, while others work on it."""
JOIN_SECONDS = round(4.0 * PACE, 1)
MIRROR_SECONDS = round(8.0 * PACE)
SLACK = 60.0 * PACE
"""Seconds that anything may take before a test says that it never happens."""


@dataclass
class Network:
    """A network in one folder. Use ``found``, then ``start``, inside ``with network.stage``."""

    folder: Path
    plan_options: tuple = ()
    study: str = STUDY
    agreed: tuple = ()
    diaries: int = 0
    """People with diaries at each hospital; 0: tables of records."""
    also: tuple = ()
    """Other studies of the same hospitals; the first is what everything else is about."""
    stage: Stage = field(init=False)
    local: LocalNetwork = field(init=False)
    plan: dict = field(init=False)
    said: list = field(default_factory=list)
    erased: dict = field(default_factory=dict)
    """Of who granted, how many have no record any more, by hospital."""
    _begun_at: dict = field(default_factory=lambda: {COORDINATOR: 0})

    def __post_init__(self):
        self.stage = Stage(self.folder, show=self.said.append)

    # Making it

    def found(self):
        """Keys, founding file, one approved plan, letters; nothing runs yet."""
        data = self.make_diaries() if self.diaries else self.make_tables()
        self.local = LocalNetwork(
            self.stage, tuple(data), data, SLOT, self.plan_options, self.study, self.agreed
        )
        self.plan = self.local.found()
        self.plans = {self.study: self.plan, **{name: self.agree(name) for name in self.also}}
        self.set(COORDINATOR, join_window_seconds=JOIN_SECONDS)
        for name in self.hospitals:
            self.set(name, lifetime_epsilon=20.0, mirror_max_age_seconds=MIRROR_SECONDS)
            if self.also:  # several answers of one patient do not wait long for one another
                self.set(name, on_chain_by_seconds=60)
            if self.diaries:
                self.set(name, minimum_cohort=min(20, self.diaries // 2))
        if not self.diaries:
            self.import_table(self.hospitals[-1])

    def agree(self, study):
        """Plan another study, approve it everywhere, write its letters; the plan."""
        words = ("server", "plan", COORDINATOR, "--study", study, "--slot", str(SLOT))
        made = self.stage.command(*words, *self.plan_options)
        for command in (
            lambda name: ("approve", name, made["study"], made["plan"], "--no-attack"),
            lambda name: ("letters", name, "--study", study, "--out", f"{name}.{study}.letters"),
        ):
            begun = [("node", *command(name)) for name in self.hospitals]
            for words, process in [(words, self.stage.begin(*words)) for words in begun]:
                self.stage.finish(process, words)
        return made

    def make_tables(self):
        made = self.stage.command("experiment", "virtual-hospitals", "data")["hospitals"]
        data = {name: self.folder / path for name, path in made.items()}
        for path in data.values():
            path.write_text("".join(path.read_text().splitlines(keepends=True)[:PATIENTS]))
        return data

    def make_diaries(self):
        words = ("experiment", "virtual-diaries", "data", "--people", str(self.diaries))
        made = self.stage.command(*words, "--days", "2", "--vitals")["hospitals"]
        return {name: self.folder / path for name, path in made.items()}

    def import_table(self, name):
        """From now on this hospital trains on the same patients, brought in and sealed."""
        fields = [column.name for column in contract.ALL]
        lines = self.local.data[name].read_text().splitlines()
        table = [f"{name}-{number:04d},{line}" for number, line in enumerate(lines, 1)]
        mapping = ['format = "csv"', 'record = "id"']
        for one in fields:
            missing = str(one in contract.ZERO_IS_MISSING).lower()
            mapping.append(f'fields.{one} = {{ column = "{one}", zero_is_missing = {missing} }}')
        (self.folder / f"{name}.csv").write_text("\n".join([",".join(["id", *fields]), *table]))
        (self.folder / f"{name}.toml").write_text("\n".join(mapping))
        found = self.stage.command(
            "data", "import", name, f"{name}.csv", "--mapping", f"{name}.toml"
        )
        assert found["qualifying"] == len(lines)
        self.set(name, data=f'"{NodePaths(self.folder / name).patients}"')

    def start(self):
        """Start everything; all patients but every ninth say yes."""
        self.local.start()
        self.answers = self.stage.command(
            "consent", "grant", "--wallet", "patients", *self.letters(), "--all",
            "--refuse-every", str(REFUSE_EVERY),
        )["letters"]  # fmt: skip
        self.wait_for_consents()

    def letters(self):
        files = [f"{name}.letters" for name in self.hospitals]
        files += [f"{name}.{study}.letters" for study in self.also for name in self.hospitals]
        return [word for file in files for word in ("--letters", file)]

    def wait_for_consents(self):
        """The cohorts are what the wallet says that patients granted."""
        expected = {
            name: {
                study: len(self.granted(name, study)) - self.erased.get(name, 0)
                for study in self.plans
            }
            for name in self.hospitals
        }
        cohorts = dict[str, dict]()

        def are_there():
            cohorts.update({name: self.cohorts(name) for name in self.hospitals})
            return cohorts == expected

        eventually(are_there, note=lambda: f"{cohorts}, and patients granted {expected}")

    def set(self, name, **values):
        """Change settings in a role's file; they hold from its next start."""
        files = ("coordinator.toml",) if name == COORDINATOR else ("node.toml", "policy.toml")
        for key, value in values.items():
            counts = 0
            for path in (self.folder / name / file for file in files):
                text, count = re.subn(rf"(?m)^{key} = \S+", f"{key} = {value}", path.read_text())
                path.write_text(text)
                counts += count
            assert counts == 1, key

    # Looking at it

    @property
    def hospitals(self):
        return self.local.hospitals

    def status(self, name):
        return watch.status(self.folder / name)

    def cohort(self, name):
        return self.cohorts(name)[self.study]

    def cohorts(self, name):
        return {each["study"]: each.get("cohort") for each in self.status(name)["studies"]}

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def founding(self):
        return Founding.decode((self.folder / COORDINATOR / "founding.json").read_bytes())

    def the_plan(self, study=None):
        data = (self.folder / self.plans[study or self.study]["plan"]).read_bytes()
        return Plan.from_document(Document.decode(data, kind=PLAN_KIND))

    def book(self, name):
        """Runs of a hospital's privacy book: reserved attempts, marks, closed or not, by run."""
        path = self.folder / name / "state" / "budget.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            rows = db.execute(
                "select run, attempts, (select count(*) from marks where marks.run = runs.run),"
                " closed from runs"
            ).fetchall()
        return {run: Charged(*row) for run, *row in rows}

    def granted(self, name, study=None):
        """References of the letters of this hospital that stand granted in the wallet."""
        study = study or self.study
        with self.wallet() as wallet:
            return [
                entry.reference
                for entry in wallet.entries()
                if (entry.letter.hospital, entry.letter.study.name) == (name, study)
                and entry.answer is Answer.GRANTED
            ]

    def on_record(self, reference):
        """What the hospital's desk tells the patient of this letter."""
        with self.wallet() as wallet:
            ((_, record),) = answering.show(wallet, [reference])
        assert isinstance(record, dict), record
        return record

    @contextmanager
    def wallet(self):
        with closing(Wallet.open(self.folder / "patients")) as wallet:
            yield wallet

    # Doing something to it

    def withdraw(self, reference):
        """A patient withdraws; the payload of the receipt."""
        with self.wallet() as wallet:
            (outcome,) = answering.withdraw(wallet, [reference], clock=SystemClock())
        if outcome.error:
            raise outcome.error
        return outcome.receipt

    def grant_again(self, reference, *, without=()):
        """A patient says yes anew, leaving out these categories."""
        with self.wallet() as wallet:
            entry = wallet.entry(reference)
            (outcome,) = answering.grant(
                wallet,
                [entry.letter],
                choice=Choice((), time.time() + 400 * 86_400, without),
                clock=SystemClock(),
                again=True,
            )
        assert outcome.error is None, outcome.error

    def up(self, name):
        """Start a process of the network that does not run; returns once it is healthy."""
        self.begin(name)
        self.wait_healthy(name)

    def begin(self, name):
        role = "server" if name == COORDINATOR else "node"
        self._begun_at[name] = len(self.log(name))
        self.stage.up(name, role, "up", name)

    def up_and_refused(self, name):
        """Start a process that has to refuse; its exit status and what it said."""
        program = [sys.executable, "-m", "twinward", "node", "up", name]
        done = subprocess.run(
            program, cwd=self.folder, capture_output=True, text=True, timeout=SLACK
        )
        return done.returncode, done.stdout + done.stderr

    def wait_healthy(self, name):
        eventually(
            lambda: self.is_healthy(name),
            seconds=1.5 * SLACK,
            note=lambda: self.log(name)[-800:],
        )

    def is_healthy(self, name):
        process = self.stage.running.get(name)
        if process is None:
            return False
        assert process.poll() is None, f"{name} ended: {self.log(name)[-800:]}"
        try:
            if name == COORDINATOR:
                return "coordinator of `demo` is up" in self.log(name)[self._begun_at[name] :]
            return self.status(name)["healthy"]
        except TwinwardError:
            return False

    def heal(self):
        """Everything runs and is healthy again, as a test finds it."""
        for name in (COORDINATOR, *self.hospitals):
            process = self.stage.running.get(name)
            if process is not None and process.poll() is not None:
                self.stage.kill(name)
        if COORDINATOR not in self.stage.running:
            self.up(COORDINATOR)
        missing = [name for name in self.hospitals if name not in self.stage.running]
        for name in missing:
            self.begin(name)
        for name in self.hospitals:
            self.wait_healthy(name)

    def kill(self, name):
        """Kill -9."""
        self.stage.kill(name)

    def stop(self, name):
        """SIGTERM, and wait until it has ended."""
        process = self.stage.running[name]
        process.terminate()
        process.wait(20)
        self.stage.kill(name)
        return process.returncode

    @contextmanager
    def paused(self, pid):
        """SIGSTOP for the duration of a block."""
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def pid(self, name):
        return self.stage.running[name].pid

    def ledger(self, **options):
        """A client of the coordinator's ledger node, let in as the coordinator."""
        return Endpoint.of(self.founding(), self.folder / COORDINATOR).rpc(**options)

    def ledger_process(self):
        """Process id of the ledger that runs now; None while there is none."""
        below = descendants(self.pid(COORDINATOR))
        return next((pid for pid in below if "ledger.embedded" in command_line(pid)), None)

    def waiting(self, name):
        """How many grants and withdrawals of a hospital the ledger does not show yet."""
        path = self.folder / name / "state" / "vault.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return sum(
                db.execute(f"select count(*) from {table} where state = 'waiting'").fetchone()[0]
                for table in ("grants", "withdrawals")
            )

    @staticmethod
    def children_of(pid):
        """Process ids of everything that runs under a process."""
        return descendants(pid)

    @staticmethod
    def sockets_of(pid):
        """Inodes of the sockets that a process holds open."""
        found = set()
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
        return found

    # Running a study

    def run(self, study=None):
        """Start ``server run``; follow it with `Run.until` and `Run.end`."""
        words = ("server", "run", COORDINATOR, "--study", study or self.study)
        return Run(self.stage.events(*words))

    def complete_run(self, study=None):
        """A run that has to be released."""
        run = self.run(study).end()
        assert run.release, run.last
        return run

    def evidence(self, run):
        """What a run's pack holds, once it is verified offline: report, card, released numbers."""
        pack = self.folder / run.release["pack"]
        founding = (self.folder / self.hospitals[0] / "founding.json").read_bytes()
        report = verify.verify(pack, founding=founding)
        assert report.ok, report.faults
        with zipfile.ZipFile(pack) as archive:
            card = json.loads(archive.read("card.json"))
            return report, card, verify.read_safetensors(archive.read("model.safetensors"))

    def opening(self, *, run=None, plan=None, signer=None):
        """What Flower would carry: an order of the coordinator (its key lies in the folder)."""
        document = (self.folder / (plan or self.plan["plan"])).read_bytes()
        planned = Plan.from_document(Document.decode(document, kind=PLAN_KIND))
        run = RunId(run or random_hex32())
        order = Document(
            run_order.KIND,
            {"run": run, "study": planned.study, "plan": planned.digest.hex()},
        ).signed_by(signer or Organisation(self.folder / COORDINATOR).identity())
        return Opening(
            run=bytes.fromhex(run),
            order=order.encode(),
            plan=document,
            weights=descent.to_bytes(planned.start),
        )

    def open_run(self, name, opening, *, timeout=SLACK):
        """Play the thin ClientApp at a node: hand it an opening, as Flower would."""
        with local_channel(LocalAddress.of(self.folder / name)) as channel:
            try:
                closing: Closing = NodeLocalStub(channel).OpenRun(opening, timeout=timeout)
            except grpc.RpcError as error:
                raise refusal_of(error, otherwise=RuntimeError(str(error.code()))) from None
        return closing


@dataclass(frozen=True)
class Charged:
    """A run in a hospital's book."""

    reserved: int
    marked: int
    closed: bool


class Run:
    """A run under way, by the events of ``server run --json``."""

    def __init__(self, process):
        self.process = process
        self.events = []
        self._errors = []
        self._listener = threading.Thread(
            target=lambda: self._errors.append(process.stderr.read()), daemon=True
        )
        self._listener.start()

    def until(self, event, **fields):
        """Read on until this event; the event."""
        for line in self.process.stdout:
            found = json.loads(line)
            self.events.append(found)
            if found.get("event") == event and all(found[k] == v for k, v in fields.items()):
                return found
        raise AssertionError(f"no {event} {fields}: {self.last}")

    def end(self):
        """Read to the end."""
        for line in self.process.stdout:
            self.events.append(json.loads(line))
        self.status = self.process.wait(SLACK)
        self._listener.join(5)
        self.process.stdout.close()
        self.process.stderr.close()
        return self

    @property
    def last(self):
        return self.events[-1] if self.events else {}

    @property
    def release(self):
        return self.last if self.last.get("event") == "released" else None

    @property
    def error(self):
        return self.last.get("error")

    @property
    def id(self):
        return self.events[0]["run"]

    def of(self, event):
        return [found for found in self.events if found.get("event") == event]


def eventually(condition, *, seconds=SLACK, note=lambda: ""):
    """Wait until a condition holds; the test fails if it never does."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never happened: {note()}"
        time.sleep(0.1)
    return found


def descendants(pid):
    """Every living process under this one, from ``/proc``."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            state, parent = stat.rsplit(")", 1)[1].split()[:2]
            if state != "Z":
                parents.setdefault(int(parent), []).append(int(entry.name))
    found, look = [], [pid]
    while look:
        below = parents.get(look.pop(), [])
        found += below
        look += below
    return found


def command_line(pid):
    """What ``ps`` shows of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def command_lines(containing):
    """Process id to command line of every living process that names this text."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            line = command_line(int(entry.name))
            try:
                folder = str((entry / "cwd").readlink())
            except OSError:
                continue
            if str(containing) in line or folder.startswith(str(containing)):
                found[int(entry.name)] = line
    return found


@contextmanager
def running_network(folder, *plan_options, **agreed):
    """A network that is up, with consents given; every process is gone at the end."""
    network = Network(folder, plan_options, **agreed)
    with network.stage:
        network.found()
        network.start()
        yield network
    left = command_lines(folder)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, left


def twinward(folder, *words):
    """Run a command in a folder; its exit status and the JSON object it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "twinward", *words, "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SLACK,
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1])
