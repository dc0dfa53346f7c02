"""The coordinator's machine is lost: it goes on elsewhere from an older backup."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from server.backup import back_up
from server.paths import ServerPaths
from server.transcript import Transcript
from tests.simulators.network import COORDINATOR, SLACK, command_lines, eventually
from tests.simulators.resumption import (
    entry,
    is_online,
    is_proved,
    queue,
    require_no_spend_lost,
    wait_ended,
    wait_running,
)
from twinward.sealed_file import Passphrase

pytestmark = pytest.mark.slow

WORDS = "words of the records\nother words, of the keys\n"


def done(network, *words):
    """A command that has to succeed; passphrases are read from standard input."""
    ended = subprocess.run(
        [sys.executable, "-m", "twinward", *words, "--json"],
        cwd=network.folder, input=WORDS, capture_output=True, text=True, timeout=SLACK,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout)


def lose(network, *, restore="c"):
    """The machine is gone; its folder comes from a backup, the ledger from a hospital's copy."""
    network.kill(COORDINATOR)
    eventually(lambda: not command_lines(network.folder / COORDINATOR))  # its children end with it
    newest = f"{max(network.hospitals, key=lambda name: blocks(network, name))}/state/ledger"
    (network.folder / "newest.sqlite").unlink(missing_ok=True)
    done(network, "ledger", "backup", newest, "newest.sqlite")
    shutil.rmtree(network.folder / COORDINATOR)
    done(
        network, "server", "restore", f"{restore}.records", COORDINATOR,
        "--keys", f"{restore}.keys", "--ledger", "newest.sqlite",
    )  # fmt: skip


def blocks(network, folder):
    """How many blocks a copy of the ledger has."""
    path = network.folder / folder / "state" / "ledger" / "chain.sqlite"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute("select max(number) from blocks").fetchone()[0]


def out(network):
    """Who is not served, by the command that staff would use."""
    found = network.stage.command("server", "members", COORDINATOR, quiet=True)
    return [one["org"] for one in found["members"] if not one["served"]]


def test_put_back_from_an_older_backup_it_knows_who_was_put_out_and_which_runs_there_were(network):
    """Between backup and loss a model was released: its blocks come from a hospital's own copy."""
    *others, revoked = network.hospitals
    done(network, "server", "backup", COORDINATOR, "c.records", "--keys", "c.keys")
    forgotten = network.complete_run()
    before = blocks(network, COORDINATOR)
    network.stage.command("server", "revoke", COORDINATOR, revoked)
    eventually(lambda: blocks(network, COORDINATOR) > before)
    wanted = blocks(network, COORDINATOR)
    eventually(lambda: blocks(network, network.hospitals[0]) >= wanted)
    lose(network)
    assert out(network) == []  # the backup does not know it
    network.up(COORDINATOR)
    assert out(network) == [revoked]
    released = network.complete_run().release
    assert sorted(released["members"]) == sorted(others)
    card = json.loads((network.folder / released["folder"] / "card.json").read_bytes())
    others_said = card["privacy_in_words"]["other_releases"]
    (named,) = [one for one in others_said if one.startswith(f"run {forgotten.id[:16]} of")]
    assert f"`{network.study}`" in named
    assert "known from the ledger alone" in named
    network.stage.command("server", "revoke", COORDINATOR, revoked, "--undo")
    eventually(lambda: is_online(network, revoked))
    network.heal()
    released = network.complete_run().release
    assert sorted(released["members"]) == sorted(network.hospitals)
    assert is_proved(network, released["run"])
    assert require_no_spend_lost(network) > 0


def test_put_back_to_the_middle_of_a_run_that_went_on_its_study_is_run_anew(network):
    """Hospitals hold more steps of the run than the backup: nobody makes one of them twice."""
    absent = network.hospitals[-1]
    network.kill(absent)  # the others wait for it a while, in which the backup is made
    number = queue(network, "add", "--study", network.study)["number"]
    run = eventually(lambda: entry(network, number)["run"])
    locks = zip(("records", "keys"), WORDS.encode().splitlines(), strict=True)
    back_up(  # a command would take longer than the run
        network.folder / COORDINATOR,
        {part: (network.folder / f"m.{part}", Passphrase(words)) for part, words in locks},
    )
    wait_running(network, number, step=3)
    lose(network, restore="m")
    path = ServerPaths(network.folder / COORDINATOR).transcript(run)
    with closing(Transcript.open(path)) as restored:
        epoch_is_known = restored.offered > 0  # a slow machine: then nodes that start anew go on
    network.up(COORDINATOR)
    ended = wait_ended(network, number, seconds=3 * SLACK)
    assert ended["state"] == "done", ended
    assert ended["parent"] == run or epoch_is_known
    assert is_proved(network, ended["run"])
    for name in set(network.hospitals) - {absent}:
        charged = network.book(name)[run]
        assert charged.marked >= 3, name
        assert charged.closed == (ended["run"] == run), name
    assert require_no_spend_lost(network) > 0
    network.heal()
