"""A convolutional network over recordings is trained, measured, released and proved."""

import json
import zipfile
from dataclasses import dataclass

import numpy as np
import pytest

from ledger import verify
from models.cardiac_ecg.risk import INFARCTION
from tests.simulators.ecg import write_folder
from tests.simulators.network import Network

pytestmark = pytest.mark.slow

HOSPITALS = ("harbour", "meadow", "summit")
PATIENTS = 45


@dataclass
class OfRecordings(Network):
    """A network whose hospitals have made-up recordings."""

    def make_tables(self):
        return {
            name: write_folder(self.folder / "data" / name, patients=PATIENTS, seed=place)
            for place, name in enumerate(HOSPITALS)
        }

    def import_table(self, name):
        """Recordings are trained on where they lie."""


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    made = OfRecordings(
        tmp_path_factory.mktemp("ecg"),
        ("--expected-patients", "120"),
        study="ecg-infarction",
        agreed=("--model", INFARCTION.name),
    )
    with made.stage:
        made.found()
        made.start()
        yield made


def test_a_network_over_recordings_is_trained_and_anyone_can_add_it_again(network):
    plan, run = network.the_plan(), network.complete_run()
    assert (run.release["verified"], run.release["attempts"]) == (True, plan.steps)
    assert sorted(run.release["members"]) == sorted(HOSPITALS)
    pack = network.folder / run.release["pack"]
    founding = (network.folder / HOSPITALS[0] / "founding.json").read_bytes()
    report = verify.verify(pack, founding=founding)
    assert report.ok, report.faults
    assert "585 weights recomputed" in next(c.detail for c in report.checks if c.name == "model")
    with zipfile.ZipFile(pack) as archive:
        card = json.loads(archive.read("card.json"))
        released = np.array(verify.read_safetensors(archive.read("model.safetensors")))
    assert (card["kind"], card["model"], card["mode"]) == ("risk", INFARCTION.name, "secure_sum")
    assert run.release["evaluation"]["missing"] is None
    start = INFARCTION.start(plan.model_spec)
    assert released.shape == start.shape
    # Everyone took the same steps of summed gradients and noise: no weight stayed where it was.
    assert np.all(released != start)
