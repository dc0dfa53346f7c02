"""A hospital of a running network keeps its vault in PostgreSQL; the server dies in a run."""

import subprocess
import sys
from contextlib import closing, contextmanager

import pytest

from consent import vault_move
from hospital_node import consents
from hospital_node.settings import FILE
from tests.simulators import postgres
from tests.simulators.network import eventually, twinward
from twinward.errors import TwinwardError

pytestmark = pytest.mark.slow
AWAY = "TW3160"


def test_a_study_a_withdrawal_and_a_dead_server_with_the_vault_in_postgresql(network):
    name, folder = network.hospitals[1], network.folder
    first, second = network.granted(name)[:2]
    before = network.cohort(name)
    with postgres.server() as server, moved(network, name, server):
        assert network.cohort(name) == before
        run = network.run()
        at = run.until("step", step=6)["step"]
        receipt = network.withdraw(first)
        assert network.cohort(name) == before - 1
        run.until("step", step=14)
        server.kill()
        # Nobody of this hospital is used from here on; the others finish without it.
        run.end()
        assert sorted(run.release["members"]) == sorted(set(network.hospitals) - {name})
        assert at < receipt["excluded_from_step"] <= run.release["attempts"] + 1
        assert AWAY in network.log(name)
        with pytest.raises(TwinwardError) as refused:
            network.withdraw(second)
        assert refused.value.code == AWAY
        standing = eventually(lambda: red(network, name))
        assert standing["ledger"]["trouble"]["code"] == AWAY
        assert AWAY in told(twinward(folder, "node", "doctor", name))

        server.start()  # and nobody does anything else
        network.wait_healthy(name)
        assert network.cohort(name) == before - 1
        assert AWAY not in told(twinward(folder, "node", "doctor", name))
        assert "PostgreSQL" in backup(network, name)  # it has the key, and not the consents
        waiting = "select count(*) from twinward.withdrawals where state = 'waiting'"
        eventually(lambda: server.sql(waiting) == "0")
        network.grant_again(first)
        eventually(lambda: network.cohort(name) == before)
        network.withdraw(second)
        assert network.cohort(name) == before - 1
        assert len(network.complete_run().release["members"]) == len(network.hospitals)
    assert network.cohort(name) == before - 1
    network.wait_for_consents()


def red(network, name):
    standing = network.status(name)
    return not standing["healthy"] and standing["ledger"]["trouble"] and standing


def told(answer):
    return repr(answer[1])


def backup(network, name):
    """What a backup says beside what it made."""
    words = ("node", "backup", name, "pg.records", "--keys", "pg.keys")
    done = subprocess.run(
        [sys.executable, "-m", "twinward", *words], cwd=network.folder, text=True,
        input="words of the records\nother words, of the keys\n", capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@contextmanager
def moved(network, name, server):
    """The vault of this hospital is in the server, and in its file again afterwards."""
    folder = network.folder / name
    path = folder / FILE
    settings = path.read_text()
    network.stop(name)
    path.write_text(f'vault_server = "{server.text}"\n{settings}')
    assert network.stage.command("node", "vault-move", name)["rows"] > 0
    network.up(name)
    try:
        yield
    finally:
        if not server.is_up:
            server.start()
        network.stop(name)
        there = consents.open_vault(folder)
        path.write_text(settings)
        back(there, consents.open_vault(folder))
        network.up(name)


def back(there, here):
    """There is no command for it: a hospital that moved stays."""
    with closing(there.store), closing(here.store), here.store.transaction() as database:
        database.execute("delete from site")
        for table in vault_move._ORDER:
            if rows := list(there.store.rows(f"select * from {table}")):
                marks = ", ".join("?" * len(rows[0]))
                database.executemany(f"insert into {table} values ({marks})", rows)
