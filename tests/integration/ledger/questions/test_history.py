"""A history of a real ledger: complete, resumable, and honest about a ledger that changes."""

import os
import sqlite3
from contextlib import closing

import pytest

from ledger.consents import Slot
from ledger.history import History
from ledger.history_feed import HistoryFeed
from ledger.provenance import Kind
from ledger.rpc import Rpc
from tests.simulators.ledger.fixtures import network, node, patient
from tests.simulators.ledger.liar import LyingNode
from tests.simulators.ledger.network import EXPIRY, Patient
from twinward.errors import LedgerError, LedgerUnreachable

__all__ = ["network", "node", "patient"]


@pytest.fixture
def liar(node):
    lying = LyingNode(node.url)
    yield lying
    lying.stop()


@pytest.fixture
def follow(tmp_path, network, liar):
    """A history of this ledger and its feed, opened again at each call."""
    opened = []

    def start():
        history = History.open(
            tmp_path / "history.sqlite", genesis=network.genesis, contracts=network.contracts
        )
        rpc = Rpc(liar.url)
        opened.append((history, rpc))
        return history, HistoryFeed(history, rpc=rpc, contracts=network.contracts)

    yield start
    for history, rpc in opened:
        history.close()
        rpc.close()


def some_history(network):
    """Grants, one of them refused, a withdrawal, a plan, an approval, a reservation, a start."""
    patients = [Patient(network, study=os.urandom(32)) for _ in range(3)]
    grants = [patient.signed_grant() for patient in patients]
    hospital = network.hospitals[0]
    hospital.relay_grants([*grants, grants[0]])
    network.coordinator.relay_withdrawal(*patients[1].signed_withdrawal())
    study, plan, run = os.urandom(32), os.urandom(32), os.urandom(32)
    network.coordinator.record(study, Kind.STUDY)
    network.coordinator.record(plan, Kind.PLAN, [study])
    hospital.approve(plan)
    hospital.reserve(run, plan=plan, micro_mu2=70_000)
    hospital.raise_fence()
    return patients, study, plan, run


def test_every_event_is_there_with_what_it_says(network, follow):
    history, feed = follow()
    before = feed.sync() and history.count
    patients, study, plan, run = some_history(network)
    assert feed.sync() == network.coordinator.tip().number == history.block
    events = list(history.events(after=before))
    assert [event.kind for event in events] == [
        *["Consent.ConsentChanged"] * 3,
        "Consent.Skipped",
        "Consent.ConsentChanged",
        *["Provenance.Recorded"] * 2,
        "Provenance.Approved",
        "Provenance.Reserved",
        "Provenance.FenceRaised",
    ]
    assert [event.number for event in events] == list(range(before + 1, history.count + 1))
    granted, recorded, reserved = events[0], events[6], events[8]
    slot = Slot.unpack(
        granted.values["slot"].to_bytes(32, "big"),
        study=granted.values["study"],
        subject=granted.values["subject"],
    )
    shown = network.coordinator.consent(patients[0].study, patients[0].subject)
    assert (slot.purposes, slot.expiry, slot.nonce, slot.relay) == (5, EXPIRY, 1, shown.relay)
    assert recorded.values["parents"] == (study,)
    assert recorded.values["digest"] == plan
    assert reserved.values["run"] == run
    assert reserved.values["microMu2"] == 70_000
    assert events[-1].time == network.coordinator.tip().time
    assert history.having("digest", plan) == events[6:8]
    assert history.event(granted.number) == granted


def test_views_say_the_same_for_people(network, follow):
    history, feed = follow()
    patients, _, plan, _ = some_history(network)
    feed.sync()
    row = history.db.execute(
        "select granted, expires, nonce, member, flags from v_consents where subject = ?",
        (f"0x{patients[2].subject.hex()}",),
    ).fetchone()
    assert row[0] == 1
    assert row[2:] == (1, 2, 1)
    assert history.db.execute(
        "select mu2 from v_reservations where plan = ?", (f"0x{plan.hex()}",)
    ).fetchone() == (0.07,)
    assert history.db.execute("select count(*) from v_members").fetchone() == (5,)


def test_it_resumes_after_the_last_page_and_readers_see_only_whole_pages(
    network, follow, liar, tmp_path
):
    history, feed = follow()
    some_history(network)
    feed.sync(to=network.coordinator.tip().number - 2)
    part = history.count
    again, feed = follow()
    asked = []
    liar.twist = lambda method, params, result: (asked.append((method, params)), result)[1]
    with closing(History.reader(tmp_path / "history.sqlite")) as reader:
        feed.sync()
        assert reader.count == again.count > part
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.db.execute("delete from events")
    (first,) = [params[0]["fromBlock"] for method, params in asked if method == "eth_getLogs"]
    assert int(first, 16) == network.coordinator.tip().number - 1


def test_a_ledger_that_shows_another_past_is_followed_and_the_denied_past_is_kept(
    network, follow, node
):
    history, feed = follow()
    some_history(network)
    feed.sync()
    honest, count = history.block, history.count
    invented = list(history.events())[-1]
    history.add(
        [
            type(invented)(
                count + 1, honest + 1, 0, invented.time, os.urandom(32), "Provenance",
                "FenceRaised", invented.values,
            )
        ],
        [(honest + 1, b"\xee" * 32, invented.time)],
        last=honest + 1,
    )  # fmt: skip
    assert history.count == count + 1
    feed.sync()
    assert (history.block, history.count) == (honest, count)
    assert history.rewound == [(honest + 1, b"\xee" * 32)]
    network.hospitals[1].raise_fence()
    feed.sync()
    assert history.count == count + 1


def test_a_confirmed_block_is_never_given_up(network, follow, liar):
    history, feed = follow()
    some_history(network)
    feed.sync()
    history.confirm(history.block)
    before = history.count

    def other_past(method, params, result):
        if method == "eth_getBlockByNumber" and int(params[0], 16) > 0:
            return {**result, "hash": "0x" + "ab" * 32}
        return result

    liar.twist = other_past
    with pytest.raises(LedgerError) as refusal:
        feed.sync()
    assert refusal.value.code == "TW3704"
    assert history.count == before


def test_a_ledger_that_changes_while_it_is_read_is_read_again(network, follow, liar):
    history, feed = follow()
    some_history(network)

    def moved(method, params, result):
        if method == "eth_getLogs":
            return [{**log, "blockHash": "0x" + "cd" * 32} for log in result]
        return result

    liar.twist = moved
    with pytest.raises(LedgerUnreachable) as refusal:
        feed.sync()
    assert refusal.value.code == "TW3703"
    assert history.count == 0
    liar.twist = lambda method, params, result: result
    feed.sync()
    assert history.count > 0


def test_an_event_that_no_contract_has_is_refused(network, follow, liar):
    history, feed = follow()

    def foreign(method, params, result):
        if method == "eth_getLogs":
            return [{**log, "topics": ["0x" + "11" * 32]} for log in result]
        return result

    liar.twist = foreign
    with pytest.raises(LedgerError) as refusal:
        feed.sync()
    assert refusal.value.code == "TW3701"
    assert history.count == 0


def test_the_file_of_another_network_is_refused(network, follow, tmp_path):
    follow()
    with pytest.raises(LedgerError) as refusal:
        History.open(tmp_path / "history.sqlite", genesis=b"\x01" * 32, contracts=network.contracts)
    assert refusal.value.code == "TW3702"
    with pytest.raises(LedgerError):
        History.reader(tmp_path / "none.sqlite")
