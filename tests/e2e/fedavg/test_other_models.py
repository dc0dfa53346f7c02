"""A network of torch origin over real processes: one sum per step, and federated averaging.

Nothing between plan and evidence knows what model it is; these runs would show where it does.
"""

import json
import math
import struct
import zipfile

import pytest

from ledger import verify
from tests.simulators.network import running_network

pytestmark = pytest.mark.slow

MODEL = ("--model", "mlp_risk/1")
STUDIES = {
    "heart-network": MODEL,
    "heart-fedavg": MODEL,
    "heart-robust": (*MODEL, "--visible-updates"),
}


@pytest.fixture(scope="module", params=STUDIES)
def running(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    with running_network(folder, study=request.param, agreed=STUDIES[request.param]) as found:
        yield found


def vectors(pack):
    """Every vector that left a hospital, as signed integers; the guard words left out."""
    with zipfile.ZipFile(pack) as archive:
        for name in archive.namelist():
            if name.startswith("attempts/"):
                for one in json.loads(archive.read(name))["masked"]:
                    data = bytes.fromhex(one["vector"])[:-16]
                    yield struct.unpack(f"<{len(data) // 8}q", data)


def test_a_run_is_released_measured_and_verified(network):
    plan = network.the_plan()
    run = network.complete_run()
    assert (run.release["verified"], run.release["attempts"]) == (True, plan.steps)
    assert sorted(run.release["members"]) == sorted(network.hospitals)
    assert run.release["evaluation"]["missing"] is None
    folder = (network.folder / run.release["pack"]).parent
    founding = (network.folder / network.hospitals[0] / "founding.json").read_bytes()
    report = verify.verify(folder / "evidence.zip", founding=founding)
    assert report.ok, report.faults
    assert "233 weights recomputed" in next(c.detail for c in report.checks if c.name == "model")
    card = json.loads((folder / "card.json").read_bytes())
    assert (card["mode"], card["model"]) == (plan.aggregate, "mlp_risk/1")
    noise = math.sqrt(plan.releases) / plan.mu
    assert card["privacy"]["noise_multiplier"] == pytest.approx(noise, rel=1e-6)
    # What left is masked, so spread over all words, unless everyone agreed to show it.
    largest = min(max(map(abs, vector)) for vector in vectors(folder / "evidence.zip"))
    assert largest <= 65536 if plan.visible_updates else largest > 2**60
    assert ("poison their updates" in (folder / "card.md").read_text()) == plan.visible_updates
    # Every hospital was charged for what it let out, and gave back what it had set aside.
    for name in network.hospitals:
        charged = network.book(name)[run.id]
        assert (charged.reserved, charged.marked) == (plan.attempts, plan.steps)


def test_a_run_survives_the_loss_of_a_hospital(network):
    plan, name = network.the_plan(), network.hospitals[2]
    run = network.run()
    run.until("step", step=2)
    network.kill(name)
    run.end()
    assert run.release, run.last
    assert run.release["verified"]
    assert name not in run.release["members"]
    assert run.release["attempts"] in {plan.steps, plan.steps + 1}
