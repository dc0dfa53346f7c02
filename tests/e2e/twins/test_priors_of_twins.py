"""Where twins start is learnt over the network: one noised sum, released, proved, taken over."""

import json
import math
import zipfile

import pytest

from ledger import verify
from tests.simulators.network import running_network, twinward

pytestmark = pytest.mark.slow

PEOPLE = 7
AGREED = ("--model", "glucose_prior/1", "--purpose", "diabetes-research")
OPTIONS = ("--expected-patients", "28")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prior")
    with running_network(
        folder, *OPTIONS, study="glucose-prior", agreed=AGREED, diaries=PEOPLE
    ) as found:
        yield found


@pytest.fixture(scope="module")
def run(network):
    return network.complete_run()


def test_a_prior_is_one_noised_sum_that_anyone_can_add_again(network, run):
    plan = network.the_plan()
    assert (plan.attempts, run.release["verified"], run.release["attempts"]) == (1, True, 1)
    assert run.release["evaluation"] is None
    pack = network.folder / run.release["pack"]
    founding = (network.folder / network.hospitals[0] / "founding.json").read_bytes()
    report = verify.verify(pack, founding=founding)
    assert report.ok, report.faults
    assert "7 weights recomputed" in next(c.detail for c in report.checks if c.name == "model")
    with zipfile.ZipFile(pack) as archive:
        card = json.loads(archive.read("card.json"))
        released = verify.read_safetensors(archive.read("model.safetensors"))
    assert (card["kind"], card["model"]) == ("prior", "glucose_prior/1")
    assert card["inputs"][0] == "insulin_effect"
    # Beyond what 28 people can say at full length there is noise of this width, and no more of it.
    width = plan.max_grad_norm * plan.noise_multiplier * math.sqrt(4 / 3) / plan.divisor
    assert max(abs(each) for each in released) < plan.max_grad_norm + 6 * width
    for name in network.hospitals:
        assert [c.marked for c in network.book(name).values()] == [1]


def test_a_hospital_takes_it_over_and_its_next_twin_starts_from_it(network, run):
    pack, release = network.folder / run.release["pack"], run.release["digest"]
    forged = bytearray(pack.read_bytes())
    forged[len(forged) // 2] ^= 1
    (network.folder / "forged.zip").write_bytes(forged)
    status, said = twinward(network.folder, "twin", "adopt", "harbour", "forged.zip")
    assert (status, said["error"]["code"]) == (3, "TW7187")
    assert twinward(network.folder, "twin", "example", "d.csv", "--days", "1")[0] == 0
    assert twinward(network.folder, "twin", "agree", "harbour", "harbour-0001")[0] == 0
    label = []
    for adopted in (False, True):
        if adopted:
            status, said = twinward(network.folder, "twin", "adopt", "harbour", str(pack))
            assert (status, said["release"], said["deployed"]["private"]) == (0, release, True)
        words = ("twin", "individualise", "harbour", "harbour-0001", "--history", "d.csv")
        assert twinward(network.folder, *words)[0] == 0
        status, said = twinward(network.folder, "twin", "what-if", "harbour", "harbour-0001")
        label.append(said["population"])
    assert label[0] == "public"
    assert label[1].startswith(release)


def test_a_patient_allows_and_ends_their_twin_with_their_own_key(network):
    def call(*words):
        return twinward(network.folder, *words)

    patient = "harbour-0002"
    assert call("twin", "letter", "harbour", patient, "--out", "care.letters")[0] == 0
    assert call("twin", "example", "care.csv", "--days", "1", "--seed", "5")[0] == 0
    make = ("twin", "individualise", "harbour", patient, "--history", "care.csv")
    assert call(*make)[1]["error"]["code"] == "TW7122"
    wallet = ("--wallet", "care-wallet")
    assert call("consent", "grant", *wallet, "--letters", "care.letters", "--all")[0] == 0
    assert call(*make)[0] == 0
    assert call("twin", "what-if", "harbour", patient)[0] == 0
    assert call("consent", "withdraw", *wallet, "--all")[0] == 0
    status, said = call("twin", "what-if", "harbour", patient)
    assert (status, said["error"]["code"]) == (6, "TW7190")
