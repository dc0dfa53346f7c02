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


def is_online(network, name):
    """Whether Flower holds this hospital's node to be connected."""
    found = watch.status(network.folder / COORDINATOR)
    return next(one["online"] for one in found["members"] if one["org"] == name)


def is_proved(network, run):
    """Whether this run's evidence pack is there and stands, by the verifier that auditors use."""
    pack = network.folder / COORDINATOR / "releases" / run[:16] / "evidence.zip"
    founding = network.founding().document.encode()
    return verify.verify_bytes(pack.read_bytes(), founding=founding).ok


def require_no_spend_lost(network):
    """Every vector that the coordinator holds was charged, in the book and in a block.

    Waits until no hospital is in a run. What comes first in a run is read last: a book holds what
    the ledger holds, a block holds what was marked.

    Returns:
        How many vectors were looked at.
    """
    founding, seen = network.founding(), 0
    for name in set(network.hospitals) & set(network.stage.running):
        eventually(lambda name=name: network.status(name)["running"] is None)
    chain = Endpoint.of(founding, network.folder / COORDINATOR).chain(
        founding, key=Organisation(network.folder / COORDINATOR).ledger_key()
    )
    sent = vectors_held(network)
    for name in network.hospitals:
        member = founding.member(name)
        account = member.ledger_account
        on_ledger = chain.spent_by(account)
        prices = reserved(network, name)
        whole = {run: one for run, one in network.book(name).items() if not is_recovery(run)}
        book = since_recovery(network.book(name))
        blocks = {run: chain.reservation(account, bytes.fromhex(run)) for run in whole}
        told = {run: (prices[run], blocks[run] and blocks[run].micro_mu2) for run in whole}
        assert on_ledger <= sum(prices.values()), (name, on_ledger, told)
        if book != whole:
            for key in [key for key in sent if key[0] == member.fingerprint and key[1] not in book]:
                del sent[key]
        for run, charged in whole.items():
            if run in book:
                count = sent.pop((member.fingerprint, run), 0)
                seen += count
                assert charged.marked >= count, (name, run)
            assert blocks[run] is not None or not charged.marked, (name, run)
            assert blocks[run] is None or blocks[run].micro_mu2 == prices[run], (name, run, told)
    assert not sent  # nobody's vector is without a run in its book
    return seen


def is_recovery(run):
    """Whether this line of a book is what a recovery charged, and no run."""
    return run.startswith("forgotten-")


def since_recovery(book):
    """The runs that a book has itself; of what a recovery charged in one piece it has no marks."""
    runs = list(book)
    recovered = [place for place, run in enumerate(runs) if is_recovery(run)]
    return {run: book[run] for run in runs[recovered[-1] + 1 if recovered else 0 :]}


def vectors_held(network):
    """How many vectors the coordinator holds, by sender and run."""
    sent = {}
    for path in ServerPaths(network.folder / COORDINATOR).transcripts.glob("*.sqlite"):
        with closing(Transcript.open(path)) as transcript:
            for attempt in transcript.attempts():
                for one in attempt.masked:
                    key = one.sender.hex(), RunId(path.stem)
                    sent[key] = sent.get(key, 0) + 1
    return sent


def reserved(network, name):
    """What each run in a hospital's book was reserved with, in millionths of mu squared."""
    path = network.folder / name / "state" / "budget.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        rows = db.execute("select run, attempts * pico_mu2 from runs").fetchall()
    return {run: -(-pico // 10**6) for run, pico in rows}
