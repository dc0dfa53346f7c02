"""The coordinator's machine is lost: it goes on elsewhere from an older backup."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.simulators.network import COORDINATOR, SLACK
from tests.simulators.resumption import is_proved, require_no_spend_lost

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


def test_put_back_from_an_older_backup_it_trains_with_every_hospital(network):
    """Between backup and loss a model was released: its blocks come from a hospital's own copy."""
    done(network, "server", "backup", COORDINATOR, "c.records", "--keys", "c.keys")
    network.complete_run()
    network.kill(COORDINATOR)
    newest = f"{network.hospitals[0]}/state/ledger"
    done(network, "ledger", "backup", newest, "newest.sqlite")
    shutil.rmtree(network.folder / COORDINATOR)
    done(
        network, "server", "restore", "c.records", COORDINATOR, "--keys", "c.keys",
        "--ledger", "newest.sqlite",
    )  # fmt: skip
    network.up(COORDINATOR)
    released = network.complete_run().release
    assert sorted(released["members"]) == sorted(network.hospitals)
    assert is_proved(network, released["run"])
    assert require_no_spend_lost(network) > 0
