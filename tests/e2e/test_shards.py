"""A study in two shards over a real network: trained, assembled, trained again without somebody."""

import json

import pytest

from ledger import verify
from tests.simulators.network import COORDINATOR, STUDY, eventually, running_network, twinward

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network of its own: the one that tests share has no study in shards."""
    with running_network(tmp_path_factory.mktemp("shards"), "--shards", "2") as found:
        for name in found.hospitals:
            found.set(name, minimum_cohort=5)  # half of sixty, less who refused
        yield found


def train(network, number):
    """Train a shard; the run."""
    words = ("server", "shards", COORDINATOR, STUDY, "--train", str(number), "--yes", "--json")
    process = network.stage.begin(*words)
    said, errors = process.communicate(timeout=120)
    last = json.loads(said.splitlines()[-1])
    assert last["event"] == "done", (last, errors, network.log(COORDINATOR)[-800:])
    return last["run"]


def standing(network):
    return network.stage.command("server", "shards", COORDINATOR, STUDY)["shards"]


def assembled(network):
    return network.stage.command("server", "assemble", COORDINATOR, STUDY)


def report_of(network, data):
    founding = (network.folder / network.hospitals[0] / "founding.json").read_bytes()
    return verify.verify_bytes(data, founding=founding)


def last_word(network, name, receipt):
    found = network.stage.command("node", "withdrawals", name, "--all")["withdrawals"]
    (one,) = [one for one in found if one["withdrawal"] == receipt["digest"]]
    return one


def test_somebody_withdraws_and_their_shard_alone_is_trained_again(network):
    status, refused = twinward(network.folder, "server", "assemble", COORDINATOR, STUDY)
    assert (status, refused["error"]["code"]) == (2, "TW6245")
    assert network.run().end().error["code"] == "TW6244"  # a whole run of it is none
    first = [train(network, 0), train(network, 1)]
    assert [one["model"] for one in standing(network)] == first

    made = assembled(network)
    pack = network.folder / made["pack"]
    assert report_of(network, pack.read_bytes()).ok
    assert [one["run"] for one in made["members"]] == first

    # Everybody at a hospital was charged for one of the two runs.
    name = network.hospitals[0]
    reference, *_ = network.granted(name)
    receipt = network.withdraw(reference)
    eventually(lambda: last_word(network, name, receipt)["stage"] == "complete")
    (model,) = last_word(network, name, receipt)["models"]
    number = model["shard"]
    assert (model["run"], model["becomes"]) == (first[number], "bounded")
    wanted = {one["shard"]: one["wanted_by"] for one in standing(network)}
    assert wanted == {number: name, 1 - number: None}

    new = train(network, number)
    again = assembled(network)
    assert again["members"][number]["run"] == new
    assert again["members"][1 - number] == made["members"][1 - number]
    assert standing(network)[number]["model"] == new
    former = json.loads((network.folder / made["folder"] / "retired.json").read_bytes())
    assert former["payload"]["run"] == made["name"]
    card = network.folder / COORDINATOR / "releases" / first[number][:16] / "card.md"
    assert card.read_text().startswith("> **RETIRED")
    data = (network.folder / again["pack"]).read_bytes()
    assert report_of(network, data).ok, report_of(network, data).faults

    network.stop(name)
    network.up(name)  # looks at once; a running node looks once a minute
    eventually(lambda: last_word(network, name, receipt)["revision"] == 2)
    (model,) = last_word(network, name, receipt)["models"]
    assert (model["becomes"], model["successor"]) == ("retrained", new)
