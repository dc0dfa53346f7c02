"""Flow *train*: from a plan to a model whose evidence anyone can check."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ledger.verify
from hospital_node.data import records, version
from hospital_node.node import connect_ledger
from hospital_node.paths import NodePaths
from hospital_node.settings import FILE, NodeSettings
from ledger.account import new_key
from ledger.provenance import Kind
from tests.simulators.network import twinward
from twinward.organisation import Organisation
from twinward.settings import load

pytestmark = pytest.mark.slow


def test_a_run_is_released_and_its_pack_verifies_far_from_the_network(network, tmp_path):
    run = network.complete_run()
    assert run.status == 0
    assert run.release["verified"]
    assert run.release["attempts"] == 30
    assert sorted(run.release["members"]) == sorted(network.hospitals)
    status, found = twinward(network.folder, "server", "doctor", "coordinator")
    assert (status, found["faults"]) == (0, 0), found
    said = {one["check"]: one["result"] for one in found["checks"]}
    live = ("ports", "SuperLink certificate", "ledger", "ledger: blocks", "runs", "members")
    assert {said[name] for name in live} == {"ok"}, found
    # An auditor has a pack, the founding file and one file of the standard library's size.
    shutil.copy(ledger.verify.__file__, tmp_path / "verify.py")
    shutil.copy(network.folder / run.release["pack"], tmp_path / "evidence.zip")
    shutil.copy(network.folder / network.hospitals[0] / "founding.json", tmp_path)
    for folder in (network.folder, Path(ledger.verify.__file__).parents[1]):
        assert not tmp_path.is_relative_to(folder)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "verify.py", "evidence.zip", "--founding", "founding.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={},
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert run.release["digest"] in done.stdout or "ok" in done.stdout


def test_another_run_of_the_same_plan_is_another_release_and_is_charged_again(network):
    name = network.hospitals[0]
    before = network.status(name)["budget"]["epsilon_spent"]
    first, second = network.complete_run(), network.complete_run()
    assert first.id != second.id
    assert first.release["digest"] != second.release["digest"]
    book = network.book(name)
    for run in (first, second):
        charged = book[run.id]
        assert (charged.reserved, charged.marked, charged.closed) == (33, 30, 1)
    assert network.status(name)["budget"]["epsilon_spent"] > before


def test_every_hospital_states_the_version_of_its_data_before_it_trains(network):
    imported = network.hospitals[-1]
    assert records.read(NodePaths(network.folder / imported).patients, hospital=imported)
    founding = network.founding()
    for name in network.hospitals:
        folder = network.folder / name
        settings = load(NodeSettings, folder / FILE)
        table = records.read(settings.data, hospital=settings.org)
        key = Organisation(folder).identity().derive(version.PURPOSE)
        chain = connect_ledger(founding, new_key(), folder=folder)
        try:
            assert chain.recorded(version.root(table, key=key)) is Kind.DATASET
            assert chain.recorded(version.root(table, key=bytes(32))) is None
        finally:
            chain.close()
    assert imported in network.complete_run().release["members"]
