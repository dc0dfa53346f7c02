"""Backups of a running node, their way back, and what a node refuses to restore."""

import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from ledger.embedded.backup import backup, restore
from ledger.embedded.check import check
from tests.simulators.ledger.network import LedgerNetwork, Patient, RunningNode
from twinward.errors import LedgerError, UsageError


def test_a_backup_of_a_node_at_work_is_one_moment_of_it(tmp_path):
    (tmp_path / "node").mkdir()
    running = RunningNode(tmp_path / "node")
    network = LedgerNetwork(running.url, genesis=running.genesis.hash(), hospitals=3)
    ended = threading.Event()

    def write():
        while not ended.is_set():
            network.hospitals[0].raise_fence()

    writer = threading.Thread(target=write)
    writer.start()
    blocks = [backup(tmp_path / "node", tmp_path / f"backup-{n}.sqlite") for n in range(4)]
    ended.set()
    writer.join()
    head = running.engine.head.block_number
    assert blocks == sorted(blocks)
    assert blocks[0] >= 3
    assert head > blocks[0]
    for number, block in enumerate(blocks):
        found = check(tmp_path / f"backup-{number}.sqlite")
        assert found.faults == ()
        assert found.head[0] == block
        assert found.head[1] == running.engine.header(block).hash
    assert [path.name for path in tmp_path.glob(".*")] == []
    network.close()
    running.stop()
    # Back in a folder of its own it is a node again, and goes on.
    assert restore(tmp_path / "backup-3.sqlite", tmp_path / "new").head[0] == blocks[3]
    again = RunningNode(tmp_path / "new", genesis=running.genesis)
    network = LedgerNetwork(again.url, genesis=again.genesis.hash(), keys=network.keys)
    network.hospitals[1].relay_grants([Patient(network).signed_grant()])
    assert again.engine.head.block_number == blocks[3] + 1
    network.close()
    again.stop()


@pytest.fixture
def saved(tmp_path):
    (tmp_path / "node").mkdir()
    running = RunningNode(tmp_path / "node")
    LedgerNetwork(running.url, genesis=running.genesis.hash(), hospitals=3).close()
    running.stop()
    backup(tmp_path / "node", tmp_path / "backup.sqlite")
    return tmp_path


def test_what_is_there_is_never_overwritten(saved):
    for work in (
        lambda: backup(saved / "node", saved / "backup.sqlite"),
        lambda: backup(saved / "nothing", saved / "new.sqlite"),
        lambda: restore(saved / "backup.sqlite", saved / "node"),
        lambda: restore(saved / "nothing.sqlite", saved / "other"),
    ):
        with pytest.raises(UsageError) as refusal:
            work()
        assert refusal.value.code == "TW3572"


def test_a_backup_with_a_changed_row_is_not_restored(saved):
    with closing(sqlite3.connect(saved / "backup.sqlite")) as db:
        db.execute("update logs set data = zeroblob(length(data)) where position = 0")
        db.commit()
    with pytest.raises(LedgerError) as refusal:
        restore(saved / "backup.sqlite", saved / "new")
    assert refusal.value.code == "TW3573"
    assert not (saved / "new").exists()


def test_the_commands_do_the_same(saved):
    def command(*words):
        done = subprocess.run(
            [sys.executable, "-m", "twinward", "ledger", *words, "--json"],
            cwd=saved,
            capture_output=True,
            text=True,
        )
        return done.returncode, json.loads(done.stdout)

    with closing(sqlite3.connect(saved / "node" / "chain.sqlite")) as db:
        (head,) = db.execute("select max(block) from transactions").fetchone()
    assert command("backup", "node", "again.sqlite")[1]["block"] == head
    status, found = command("check", "node")
    assert (status, found["block"]) == (0, head)
    assert command("restore", "again.sqlite", "new")[1]["rows"] == found["rows"]
    with closing(sqlite3.connect(saved / "new" / "chain.sqlite")) as db:
        db.execute("update transactions set gas_used = gas_used + 1 where block = 2")
        db.commit()
    status, found = command("check", "new")
    assert (status, found["error"]["code"]) == (3, "TW3584")
