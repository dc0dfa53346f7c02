"""The patients' accounts in a network of real processes: own limits, erasure, copies, lost files.

Its plan samples patients, so each run here is also a sampled run from plan to verified pack; and
hospitals declared their sizes in it, so each is also a run that needs the large one.
"""

import shutil
import sqlite3
from contextlib import closing

import pytest

from hospital_node import accounts
from hospital_node.data import uci
from hospital_node.privacy.lifetime import LIFETIME_DELTA
from models.cardiac_risk.made_up import HOSPITALS
from tests.simulators.network import eventually, running_network, twinward
from twinward import gdp
from twinward.demo.network import STUDY

pytestmark = pytest.mark.slow
LARGE = "harbour"


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sampled")
    sizes = [f"--size={one.name}={8 if one.name == LARGE else 1}" for one in HOSPITALS]
    words = ("--sample-rate", "0.5", *sizes, "--least-percent", "60")
    with running_network(folder, *words) as network:
        yield network


@pytest.fixture
def network(sampled):
    sampled.heal()
    return sampled


def records(network, name):
    return uci.read(network.local.data[name], hospital=name).records


def spent(network, name):
    """Epsilon that each patient of a hospital has spent."""
    place = network.folder / name
    return {one: accounts.account(place, one)["epsilon_spent"] for one in records(network, name)}


def state(network, name, file):
    return network.folder / name / "state" / file


def put_back(copy, path):
    for each in path.parent.glob(path.name + "*"):
        each.unlink()
    shutil.copy(copy, path)


def copied(path, to):
    """As a backup tool takes it, also from a running node."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)
    return to


def refused(network, name, code):
    status, said = network.up_and_refused(name)
    assert status != 0
    assert code in said


def test_a_sampled_run_is_verified_and_charged_in_whole_to_who_was_in_it(network):
    name = network.hospitals[0]
    plan = network.the_plan()
    assert plan.sampling.rate == 0.5
    before = spent(network, name)
    run = network.complete_run()
    assert run.release["verified"]
    assert sorted(run.release["members"]) == sorted(network.hospitals)
    charged = network.book(name)[run.id]
    assert (charged.reserved, charged.marked, charged.closed) == (33, run.release["attempts"], 1)
    after = spent(network, name)
    trained = round(gdp.epsilon_of(plan.mu, LIFETIME_DELTA), 4)
    assert trained > plan.epsilon  # charged at a mu that covers the sampled curve everywhere
    assert not any(before.values())
    # Trained on; held out; refused their consent. Of 60 patients none is two of these.
    assert set(after.values()) > {trained, 0.0}
    assert len([one for one in after.values() if one == trained]) > 30
    assert len([one for one in after.values() if one == 0.0]) >= 60 // 9


def test_the_price_is_said_before_it_is_approved_and_a_retraining_has_one_too(network):
    name = network.hospitals[0]
    before = spent(network, name)
    plan = network.plan["plan"]
    status, said = twinward(network.folder, "node", "price", name, plan)
    assert status == 0
    assert said["training"]["mu2"] == pytest.approx(network.the_plan().mu ** 2)
    assert said["training"]["patients"] + said["evaluation"]["patients"] == len(before)
    assert "A retraining is a new run" in said["text"]
    status, again = twinward(network.folder, "node", "approve", name, network.plan["study"], plan)
    assert status == 0
    assert again["price"] == {key: said[key] for key in again["price"]}
    assert spent(network, name) == before, "looking costs nothing"


def test_a_patient_with_a_lower_limit_leaves_the_run_and_the_others_stay(network):
    name = network.hospitals[1]
    network.complete_run()
    before = spent(network, name)
    most = max(before.values())
    leaving = next(one for one, epsilon in before.items() if epsilon == most)
    status, said = twinward(network.folder, "node", "limit", name, leaving, "--epsilon", "0.5")
    assert status == 0
    assert (said["epsilon_limit"], said["nearly_spent"]) == (0.5, True)
    assert network.status(name)["budget"]["patients_nearly_spent"] == 1
    assert sorted(network.complete_run().release["members"]) == sorted(network.hospitals)
    after = spent(network, name)
    assert after[leaving] == before[leaving]
    paid = {one for one in before if after[one] > before[one]}
    assert paid == {one for one, epsilon in before.items() if epsilon} - {leaving}

    # Too many lower theirs: the hospital's minimum is not met, so it sits out and charges nobody.
    for one in records(network, name):
        accounts.account(network.folder / name, one, epsilon=0.5)
    try:
        run = network.complete_run()
        assert name not in run.release["members"]
        assert "TW4100" in network.log(name)
        assert run.id not in network.book(name)
        assert spent(network, name) == after
    finally:
        for one in records(network, name):
            accounts.account(network.folder / name, one, epsilon=None)


def test_who_is_erased_and_enrols_again_has_still_spent(network):
    name = network.hospitals[2]
    network.complete_run()
    before = spent(network, name)
    assert any(before.values())
    network.stop(name)
    for each in state(network, name, "").glob("vault.sqlite*"):
        each.unlink()
    table = network.local.data[name]
    everyone = table.read_text()
    table.write_text("".join(everyone.splitlines(keepends=True)[:30]))
    network.up(name)
    assert network.status(name)["patients"] == 30
    assert network.cohort(name) == 0
    network.stop(name)
    table.write_text(everyone)
    letters = f"{name}.again"
    network.stage.command("node", "letters", name, "--study", STUDY, "--out", letters)
    network.up(name)
    words = ("consent", "grant", "--wallet", "anew", "--letters", letters, "--all")
    network.stage.command(*words)
    eventually(lambda: network.cohort(name) == len(before))
    assert spent(network, name) == before


def test_old_copies_clones_and_lost_accounts(network, tmp_path):
    name = network.hospitals[0]
    network.stop(name)
    book, file = state(network, name, "budget.sqlite"), state(network, name, "accounts.sqlite")
    old_book, old_file = copied(book, tmp_path / "book"), copied(file, tmp_path / "accounts")
    shutil.copytree(network.folder / name, network.folder / "clone")
    network.up(name)
    network.complete_run()
    before = spent(network, name)
    network.stop(name)

    refused(network, "clone", "TW4105")  # the ledger has a run that it has not
    put_back(old_book, book)
    refused(network, name, "TW4105")
    words = ("node", "recover", name, "--no-other-copy-is-in-use")
    status, said = twinward(network.folder, *words)
    assert status == 0
    assert said["charged_mu2"] >= network.the_plan().mu ** 2
    network.up(name)
    assert min(spent(network, name).values()) >= network.the_plan().epsilon
    network.stop(name)

    # The book knows all that was spent, but the patients' accounts are old: all pay for it.
    put_back(old_file, file)
    shutil.rmtree(network.folder / "clone")
    shutil.copytree(network.folder / name, network.folder / "clone")
    network.up(name)
    after = spent(network, name)
    assert all(after[one] >= before[one] for one in before)
    assert min(after.values()) >= network.the_plan().epsilon
    network.stop(name)
    refused(network, "clone", "TW4310")  # the ledger knows a newer process
    shutil.rmtree(network.folder / "clone")


def test_a_book_that_has_lost_marks_of_a_run_is_refused(network, tmp_path):
    name = network.hospitals[3]
    book = state(network, name, "budget.sqlite")
    run = network.run()
    run.until("step", step=5)
    old = copied(book, tmp_path / "old")
    run.until("step", step=12)
    network.kill(name)
    new = copied(book, tmp_path / "new")
    put_back(old, book)
    refused(network, name, "TW4108")
    put_back(new, book)
    run.end()
    assert run.release, run.last


def test_a_run_waits_for_the_large_hospital_and_without_it_stops_by_its_name(network):
    assert network.the_plan().sizes.least_percent == 60
    run = network.run()
    run.until("step", step=5)
    with network.paused(network.pid(LARGE)):
        run.until("lost")
    run.end()
    assert run.release, run.last
    assert all(LARGE in epoch["members"] for epoch in run.of("epoch"))
    assert len(run.of("epoch")) > 1

    run = network.run()
    run.until("step", step=5)
    network.kill(LARGE)
    run.end()
    assert run.release is None
    assert run.error["code"] == "TW6239"
    assert f"missing: {LARGE} (" in run.error["message"]
    assert len(run.of("epoch")) == 1, "nothing was asked of the three others alone"
