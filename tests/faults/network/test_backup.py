"""A machine is lost: its node goes on elsewhere from a backup, and forgets nothing."""

import json
import shutil
import subprocess
import sys

from hospital_node import accounts, stores, upgrade
from hospital_node.paths import NodePaths
from tests.simulators.network import SLACK, eventually
from twinward import forms

WORDS = "words of the records\nother words, of the keys\n"


def twinward(network, *words, given=WORDS):
    done = subprocess.run(
        [sys.executable, "-m", "twinward", *words, "--json"],
        cwd=network.folder, input=given, capture_output=True, text=True, timeout=SLACK,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)


def is_done(network, *words):
    status, said = twinward(network, *words)
    assert status == 0, said
    return said


def databases(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.sqlite")}


def to_another_machine(network, name):
    """The folder is gone, and a link leads to where it will be put back."""
    (network.folder / name).rename(network.folder / f"{name}.lost")
    elsewhere = network.folder / "m" / name
    elsewhere.parent.mkdir(exist_ok=True)
    (network.folder / name).symlink_to(elsewhere)
    return elsewhere


def test_a_node_lost_in_a_run_goes_on_elsewhere_and_forgets_nothing(network):
    name = network.hospitals[-1]  # its patients are imported and sealed
    run = network.run()
    run.until("step", step=3)
    files = ("b.records", "--keys", "b.keys")
    taken = is_done(network, "node", "backup", name, *files)
    run.end()
    assert run.release, run.last
    records, keys = set(taken["records"]["paths"]), set(taken["keys"]["paths"])
    assert {"state/accounts.sqlite", "state/budget.sqlite", "state/patients.sqlite"} <= records
    assert {"patients.key", "secrets/identity.key", "state/audit/keys.sqlite"} <= keys

    folder = network.folder / name
    assert {o.path for o in forms.examine(folder, upgrade.FORMS)} == databases(folder)
    assert [path for path, store in stores.walked(folder) if store is None] == []
    status, said = twinward(network, "node", "upgrade-check", name)
    assert status == 0
    assert {o["found"] - o["known"] for o in said["forms"] if o["found"] is not None} == {0}

    # What happens after the backup: a run, a withdrawal, an erasure of the last patient's record.
    network.complete_run()
    withdrawn = network.granted(name)[0]
    network.withdraw(withdrawn)
    eventually(lambda: network.waiting(name) == 0)
    cohort = network.cohort(name)
    spent = network.status(name)["budget"]["epsilon_spent"]
    patient = f"{name}-0001"
    before = accounts.account(network.folder / name, patient)["epsilon_spent"]
    network.stop(name)
    erased = f"{name}-0060"
    is_done(network, "data", "forget", name, erased, "--yes")
    shutil.copy(NodePaths(network.folder / name).erased, network.folder / "erased")

    elsewhere = to_another_machine(network, name)
    found = is_done(
        network, "node", "restore", "b.records", str(elsewhere), "--keys", "b.keys",
        "--erased", "erased",
    )  # fmt: skip
    assert found["data"] == str(NodePaths(elsewhere).patients)
    assert found["data_is_here"]
    assert found["erased_again"] == 1
    assert found["compared"]
    assert found["book"] == "TW4105"
    status, said = network.up_and_refused(name)
    assert status == 6
    assert "TW4105" in said
    is_done(network, "node", "recover", name, "--no-other-copy-is-in-use")
    network.up(name)

    assert network.status(name)["patients"] == 59
    assert network.status(name)["budget"]["epsilon_spent"] >= spent
    assert accounts.account(network.folder / name, patient)["epsilon_spent"] >= before
    network.erased[name] = cohort - network.cohort(name)
    assert network.erased[name] in {0, 1}  # who was erased may have refused
    assert network.complete_run().release["members"]
