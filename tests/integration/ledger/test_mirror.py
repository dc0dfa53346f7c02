"""The mirror believes no ledger node: every lie about consents is caught."""

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from ledger.mirror import Mirror
from ledger.mirror_reader import MirrorReader
from ledger.rpc import Rpc
from tests.simulators.ledger.liar import LyingNode
from tests.simulators.ledger.network import LedgerNetwork, Patient, RunningNode
from twinward.errors import ConsentError, IdentityError, LedgerError, LedgerUnreachable, UsageError
from twinward.signing import Document, Identity

NOW = 1_800_000_000.0
SIGNER = Identity.generate()


@pytest.fixture
def liar(node):
    lying = LyingNode(node.url)
    yield lying
    lying.stop()


@pytest.fixture
def mirror(tmp_path, node, network, liar):
    rpc = Rpc(liar.url)
    mirror = Mirror(
        tmp_path / "mirror.sqlite",
        rpc=rpc,
        genesis=node.genesis.hash(),
        contract=network.consent,
    )
    yield mirror
    mirror.close()
    rpc.close()


def statement(network, *, at=NOW, signer=SIGNER):
    tip = network.coordinator.tip()
    return tip.statement(genesis=network.genesis, now=at).signed_by(signer)


def check(mirror, tip, *, now=NOW, signer=SIGNER, limit=5.0):
    return mirror.check(tip, signer=signer.public, now=now, max_age_seconds=limit)


def granted(network, count=3):
    patients = [Patient(network, study=os.urandom(32)) for _ in range(count)]
    network.hospitals[0].relay_grants([patient.signed_grant() for patient in patients])
    return patients


def refused(code, call):
    with pytest.raises(ConsentError) as refusal:
        call()
    assert refusal.value.code == code


def test_an_honest_copy_is_confirmed_and_holds_every_slot(network, mirror):
    patients = granted(network)
    network.coordinator.relay_withdrawal(*patients[1].signed_withdrawal())
    check(mirror, statement(network))
    assert mirror.head == network.coordinator.consent_head()
    for patient in patients:
        slot = mirror.slot(patient.study, patient.subject)
        shown = network.coordinator.consent(patient.study, patient.subject)
        assert (slot.purposes, slot.nonce, slot.relay) == (shown.purposes, shown.nonce, shown.relay)
    first = mirror.slot(patients[0].study, patients[0].subject)
    assert first.digest == patients[0].digest(patients[0].grant())
    assert mirror.slot(patients[0].study, bytes(20)) is None


def test_changes_name_each_changed_subject_once(network, mirror):
    check(mirror, statement(network))
    before = mirror.block
    assert mirror.changes(before) == []
    patients = granted(network)
    network.coordinator.relay_withdrawal(*patients[2].signed_withdrawal())
    check(mirror, statement(network))
    changes = mirror.changes(before)
    assert [slot.subject for slot in changes] == [patient.subject for patient in patients]
    assert [slot.purposes for slot in changes] == [5, 5, 0]


def test_a_copy_that_is_reopened_goes_on_where_it_was(network, mirror, tmp_path, node):
    granted(network)
    check(mirror, statement(network))
    asked = []
    rpc = Rpc(node.url)
    again = Mirror(
        tmp_path / "mirror.sqlite", rpc=rpc, genesis=node.genesis.hash(), contract=network.consent
    )
    assert again.head == mirror.head
    again._logs = lambda *span: asked.append(span) or []
    check(again, statement(network))
    assert asked == []
    again.close()
    rpc.close()


def test_a_stale_confirmation_is_refused(network, mirror):
    tip = statement(network)
    refused("TW3101", lambda: check(mirror, tip, now=NOW + 5.1))
    check(mirror, tip, now=NOW + 4.9)


def test_a_confirmation_from_the_future_is_refused(network, mirror):
    refused("TW3101", lambda: check(mirror, statement(network, at=NOW + 61)))


def test_a_confirmation_by_another_signer_is_refused(network, mirror):
    with pytest.raises(IdentityError):
        check(mirror, statement(network, signer=Identity.generate()))


def test_an_altered_confirmation_is_refused(network, mirror):
    tip = statement(network)
    newer = Document(tip.kind, {**tip.payload, "time": NOW + 3}, tip.signatures)
    with pytest.raises(IdentityError):
        check(mirror, newer)


def test_a_confirmation_of_another_network_is_refused(network, mirror):
    tip = network.coordinator.tip().statement(genesis=os.urandom(32), now=NOW).signed_by(SIGNER)
    refused("TW3102", lambda: check(mirror, tip))


@pytest.mark.parametrize(
    "payload", [{}, {"number": -1}, {"hash": "zz"}, {"time": "now"}, {"more": 1}]
)
def test_a_malformed_confirmation_is_refused(network, mirror, payload):
    good = statement(network)
    tip = Document(good.kind, {**good.payload, **payload} if payload else {}).signed_by(SIGNER)
    with pytest.raises(UsageError) as refusal:
        check(mirror, tip)
    assert refusal.value.code == "TW5042"


# Lies


def lie_about_logs(liar, change):
    def twist(method, params, result):
        return change(result) if method == "eth_getLogs" and result else result

    liar.twist = twist


def test_the_last_event_dropped_is_caught(network, liar, mirror):
    granted(network)
    lie_about_logs(liar, lambda logs: logs[:-1])
    refused("TW3102", lambda: check(mirror, statement(network)))


def test_all_events_dropped_is_caught(network, liar, mirror):
    granted(network)
    lie_about_logs(liar, lambda logs: [])
    refused("TW3102", lambda: check(mirror, statement(network)))


@pytest.mark.parametrize(
    "change",
    [
        lambda logs: logs[1:],
        lambda logs: logs[::-1],
        lambda logs: [*logs, logs[-1]],
        lambda logs: [{**log, "blockNumber": "0xffff"} for log in logs],
        lambda logs: [{**log, "data": log["data"][:-2]} for log in logs],
        lambda logs: [{**log, "topics": log["topics"][:3]} for log in logs],
        lambda logs: [{}],
    ],
    ids=["first dropped", "reordered", "repeated", "block", "short", "topics", "empty"],
)
def test_an_event_list_that_contradicts_itself_is_refused_at_once(network, liar, mirror, change):
    granted(network)
    lie_about_logs(liar, change)
    with pytest.raises(LedgerError) as refusal:
        check(mirror, statement(network))
    assert refusal.value.code == "TW5045"
    assert mirror.head == bytes(32)


@pytest.mark.parametrize("field", ["study", "subject", "digest", "slot"])
def test_an_altered_event_is_caught(network, liar, mirror, field):
    granted(network)

    def alter(logs):
        log = dict(logs[-1])
        if field == "slot":
            log["data"] = log["data"][:70] + "ff" + log["data"][72:]
        else:
            n = 1 + ["study", "subject", "digest"].index(field)
            topics = list(log["topics"])
            topics[n] = topics[n][:-2] + f"{int(topics[n][-2:], 16) ^ 1:02x}"
            log["topics"] = topics
        return [*logs[:-1], log]

    lie_about_logs(liar, alter)
    refused("TW3102", lambda: check(mirror, statement(network)))


def test_a_withdrawal_hidden_behind_an_old_head_is_caught(network, liar, mirror, node):
    patients = granted(network)
    before = network.coordinator.tip().number
    network.coordinator.relay_withdrawal(*patients[0].signed_withdrawal())

    def twist(method, params, result):
        if method == "eth_getLogs":
            return [log for log in result if int(log["blockNumber"], 16) <= before]
        if method == "eth_getProof":
            return old
        return result

    rpc = Rpc(node.url)
    old = rpc.call("eth_getProof", f"0x{network.consent.hex()}", ["0x0"], hex(before))
    rpc.close()
    liar.twist = twist
    with pytest.raises(LedgerError) as refusal:
        check(mirror, statement(network))
    assert refusal.value.code == "TW5041"


def test_an_invented_grant_after_the_confirmed_block_is_not_believed(network, liar, mirror, node):
    patients = granted(network)
    network.coordinator.relay_withdrawal(*patients[0].signed_withdrawal())
    tip = statement(network)
    rpc = Rpc(node.url)
    wanted = {"address": f"0x{network.consent.hex()}", "fromBlock": "0x0"}
    known = [log for log in rpc.call("eth_getLogs", wanted) if len(log["topics"]) == 4]
    rpc.close()
    granted_then = next(
        log for log in known if log["topics"][2].endswith(patients[0].subject.hex())
    )
    count = int(known[-1]["data"][2:66], 16) + 1

    def twist(method, params, result):
        newest = hex(tip.payload["number"] + 1)
        if method == "eth_getBlockByNumber" and params[0] == "latest":
            return {**result, "number": newest}
        if method == "eth_getBlockByNumber" and result is None:
            return {"hash": "0x" + "ab" * 32, "number": newest}
        if method == "eth_getLogs" and params[0]["toBlock"] == newest:
            data = f"0x{count:064x}{granted_then['data'][66:]}"
            return [*result, {**granted_then, "blockNumber": newest, "data": data}]
        return result

    liar.twist = twist
    check(mirror, tip)
    assert mirror.slot(patients[0].study, patients[0].subject).purposes == 0
    mirror.sync()  # a caller that goes further than what is confirmed
    assert mirror.slot(patients[0].study, patients[0].subject).purposes == 5
    refused("TW3102", lambda: check(mirror, tip))


def test_a_rewritten_history_is_refused(network, liar, mirror):
    granted(network)
    check(mirror, statement(network))

    def twist(method, params, result):
        if method == "eth_getBlockByNumber":
            return {**result, "hash": "0x" + "ab" * 32}
        return result

    liar.twist = twist
    with pytest.raises(LedgerError) as refusal:
        mirror.sync()
    assert refusal.value.code == "TW5044"


def test_blocks_that_nobody_confirmed_may_be_replaced(network, liar, mirror):
    """A node of another kind of chain reorganises: the copy goes back and follows it."""
    patients = granted(network)
    check(mirror, statement(network))
    confirmed, slots = mirror.block, mirror.changes(0)
    granted(network)
    liar.twist = lambda method, params, result: (
        {**result, "hash": "0x" + "ab" * 32}
        if method == "eth_getBlockByNumber" and int(result["number"], 16) > confirmed
        else result
    )
    other = mirror.sync()  # blocks of a branch that will not stay
    assert other > confirmed
    assert len(mirror.changes(0)) > len(slots)
    network.coordinator.relay_withdrawal(*patients[0].signed_withdrawal())
    liar.twist = lambda method, params, result: result
    assert mirror.sync() > other
    assert mirror.slot(patients[0].study, patients[0].subject).purposes == 0
    check(mirror, statement(network))
    assert mirror.head == network.coordinator.consent_head()


def test_going_back_restores_the_older_slots(network, mirror):
    patients = granted(network)
    check(mirror, statement(network))
    before, head = mirror.changes(0), mirror.head
    network.coordinator.relay_withdrawal(*patients[0].signed_withdrawal())
    last, known = mirror.block, len(before)
    assert mirror.sync() > last
    assert mirror.slot(patients[0].study, patients[0].subject).purposes == 0
    mirror._rewind(last)
    assert (mirror.block, mirror.head, mirror.changes(0)) == (last, head, before)
    assert mirror.count >= known
    mirror.sync()
    assert mirror.slot(patients[0].study, patients[0].subject).purposes == 0


def test_confirmed_blocks_stay_confirmed_after_a_restart(network, liar, mirror, tmp_path):
    granted(network)
    check(mirror, statement(network))
    rpc = Rpc(liar.url)
    path = tmp_path / "mirror.sqlite"
    again = Mirror(path, rpc=rpc, genesis=network.genesis, contract=network.consent)
    liar.twist = lambda method, params, result: (
        {**result, "hash": "0x" + "ab" * 32} if method == "eth_getBlockByNumber" else result
    )
    with pytest.raises(LedgerError) as refusal:
        again.sync()
    assert refusal.value.code == "TW5044"
    again.close()
    rpc.close()


def test_many_readers_beside_the_one_that_follows(network, mirror, tmp_path):
    """Threads of this process and readers of their own, all while the copy grows."""
    patients = granted(network)
    check(mirror, statement(network))
    reader, seen = MirrorReader(tmp_path / "mirror.sqlite"), []

    def read(source):
        for _ in range(50):
            slots = source.changes(0)
            assert source.head_at(source.block) != bytes(32)
            seen.append(len(slots))

    with ThreadPoolExecutor(8) as threads:
        reads = [threads.submit(read, source) for source in (mirror, reader) * 4]
        granted(network)
        mirror.sync()
        for each in reads:
            each.result()
    assert len(seen) == 400
    assert reader.slot(patients[0].study, patients[0].subject) == mirror.slot(
        patients[0].study, patients[0].subject
    )
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._reading.execute("delete from events")
    reader.close()


def test_a_copy_of_an_older_version_is_fetched_again(network, mirror, tmp_path):
    granted(network)
    check(mirror, statement(network))
    path, slots = tmp_path / "mirror.sqlite", mirror.changes(0)
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma user_version = 1")
    rpc = Rpc(network.url)
    again = Mirror(path, rpc=rpc, genesis=network.genesis, contract=network.consent)
    assert again.block == 0
    check(again, statement(network))
    assert again.changes(0) == slots
    again.close()
    rpc.close()


def test_a_node_that_lags_behind_the_confirmed_block_is_refused(network, liar, mirror):
    granted(network)

    def twist(method, params, result):
        return {**result, "number": "0x3"} if params and params[0] == "latest" else result

    liar.twist = twist
    refused("TW3102", lambda: check(mirror, statement(network)))


def test_after_a_lie_a_rebuild_from_an_honest_node_heals(network, liar, mirror):
    granted(network)
    lie_about_logs(liar, lambda logs: logs[:-1])
    refused("TW3102", lambda: check(mirror, statement(network)))
    liar.twist = lambda method, params, result: result
    mirror.rebuild()
    check(mirror, statement(network))


def test_a_node_that_is_gone_is_said_to_be_unreachable(network, liar, mirror):
    liar.stop()
    with pytest.raises(LedgerUnreachable) as refusal:
        check(mirror, statement(network))
    assert refusal.value.code == "TW5001"


def test_a_copy_of_another_chain_is_refused(network, mirror, tmp_path, node):
    rpc = Rpc(node.url)
    for genesis, contract in ((os.urandom(32), network.consent), (network.genesis, b"\1" * 20)):
        with pytest.raises(LedgerError) as refusal:
            Mirror(tmp_path / "mirror.sqlite", rpc=rpc, genesis=genesis, contract=contract)
        assert refusal.value.code == "TW5043"
    (tmp_path / "damaged.sqlite").write_bytes(b"not a database, " * 64)
    with pytest.raises(LedgerError) as refusal:
        Mirror(
            tmp_path / "damaged.sqlite", rpc=rpc, genesis=network.genesis, contract=network.consent
        )
    assert refusal.value.code == "TW5043"
    rpc.close()


def test_more_events_than_one_answer_holds_are_fetched_in_pages(tmp_path, monkeypatch):
    monkeypatch.setattr("ledger.embedded.logs.MOST_LOGS", 10)
    running = RunningNode(tmp_path)
    network = LedgerNetwork(running.url, genesis=running.genesis.hash(), hospitals=3)
    for _ in range(5):
        granted(network, 8)
    rpc = Rpc(running.url)
    mirror = Mirror(
        tmp_path / "m.sqlite", rpc=rpc, genesis=network.genesis, contract=network.consent
    )
    check(mirror, statement(network))
    assert len(mirror.changes(0)) == 40
    mirror.close()
    rpc.close()
    network.close()
    running.stop()
