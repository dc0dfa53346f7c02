"""Where twins start is learnt over the network: one noised sum, released, proved, taken over."""

import json
import math
import zipfile

import pytest

from ledger import verify
from tests.simulators.network import running_network

pytestmark = pytest.mark.slow

PEOPLE = 7
AGREED = ("--model", "glucose_prior/1", "--purpose", "health-research")
OPTIONS = ("--expected-patients", "28")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prior")
    with running_network(
        folder, *OPTIONS, study="glucose-prior", agreed=AGREED, diaries=PEOPLE
    ) as found:
        yield found


def test_a_prior_is_one_noised_sum_that_anyone_can_add_again(network):
    plan, run = network.the_plan(), network.complete_run()
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
