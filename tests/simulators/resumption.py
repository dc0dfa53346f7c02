"""What has to hold of spending, whatever was killed: for the tests and drills of resumption."""

import sqlite3
import time
from contextlib import closing

from ledger import verify
from ledger.endpoint import Endpoint
from server import watch
from server.paths import ServerPaths
from server.study_queue import StudyQueue
from server.transcript import Transcript
from tests.simulators.network import COORDINATOR, eventually
from twinward.ids import RunId
from twinward.organisation import Organisation

ENDED = {"done", "parked", "aborted"}


def queue(network, *words):
    """A command about the queue; what it prints."""
    command, *rest = words
    return network.stage.command("server", "queue", command, COORDINATOR, *rest, quiet=True)


def entry(network, number):
    """One study of the queue."""
    with closing(StudyQueue(ServerPaths(network.folder / COORDINATOR).queue)) as found:
        return found.entry(number).as_json()


def wait_ended(network, number, *, seconds):
    """The entry, once it has ended in whatever way."""
    return eventually(
        lambda: found if (found := entry(network, number))["state"] in ENDED else None,
        seconds=seconds,
        note=lambda: str(entry(network, number)) + network.log(COORDINATOR)[-600:],
    )


def wait_running(network, number, *, step, seconds=60):
    """The run of a study of the queue, once this step of it was summed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = entry(network, number)
        assert found["state"] not in ENDED, found
        status = watch.status(network.folder / COORDINATOR)
        if found["run"] and (status["progress"] or {}).get("step", 0) >= step:
            return found["run"]
        time.sleep(0.02)  # all steps together take a second
    raise AssertionError(network.log(COORDINATOR)[-600:])


def is_proved(network, run):
    """Whether this run's evidence pack is there and stands, by the verifier that auditors use."""
    pack = network.folder / COORDINATOR / "releases" / run[:16] / "evidence.zip"
    founding = network.founding().document.encode()
    return verify.verify_bytes(pack.read_bytes(), founding=founding).ok


def require_no_spend_lost(network):
    """Every vector that the coordinator holds was charged, in the book and in a block.

    Returns:
        How many vectors were looked at.
    """
    founding, seen = network.founding(), 0
    books = {name: reserved(network, name) for name in network.hospitals}
    chain = Endpoint.of(founding, network.folder / COORDINATOR).chain(
        founding, key=Organisation(network.folder / COORDINATOR).ledger_key()
    )
    member = {name: founding.member(name) for name in network.hospitals}
    sent = {}
    for path in ServerPaths(network.folder / COORDINATOR).transcripts.glob("*.sqlite"):
        with closing(Transcript.open(path)) as transcript:
            for attempt in transcript.attempts():
                for one in attempt.masked:
                    key = one.sender.hex(), RunId(path.stem)
                    sent[key] = sent.get(key, 0) + 1
    for name in network.hospitals:
        book = network.book(name)
        for (sender, run), count in sent.items():
            if sender == member[name].fingerprint:
                seen += count
                assert book[run].marked >= count, (name, run)
        on_ledger = chain.spent_by(member[name].ledger_account)
        assert on_ledger <= sum(books[name].values())
        for run, micro_mu2 in books[name].items():
            found = chain.reservation(member[name].ledger_account, bytes.fromhex(run))
            sent_any = book[run].marked > 0
            assert found is None or found.micro_mu2 == micro_mu2
            assert found is not None or not sent_any, (name, run)
    return seen


def reserved(network, name):
    """What each run in a hospital's book was reserved with, in millionths of mu squared."""
    path = network.folder / name / "state" / "budget.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        rows = db.execute("select run, attempts * pico_mu2 from runs").fetchall()
    return {run: -(-pico // 10**6) for run, pico in rows}
