"""A convolutional network over recordings is trained, measured, released and proved."""

from dataclasses import dataclass

import numpy as np
import pytest

from models.cardiac_ecg.risk import INFARCTION
from tests.simulators.ecg import write_folder
from tests.simulators.network import Network

pytestmark = pytest.mark.slow

HOSPITALS = ("harbour", "meadow", "summit")
PATIENTS = 45
FEDAVG = "ecg-infarction-fedavg"


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
        agreed=("--model", INFARCTION.name, "--study", FEDAVG),
        also=(FEDAVG,),
    )
    with made.stage:
        made.found()
        made.start()
        yield made


@pytest.mark.parametrize(("study", "mode"), [("ecg-infarction", "secure_sum"), (FEDAVG, "fedavg")])
def test_a_network_over_recordings_is_trained_and_anyone_can_add_it_again(network, study, mode):
    plan, run = network.the_plan(study), network.complete_run(study)
    assert (run.release["verified"], run.release["attempts"]) == (True, plan.steps)
    assert sorted(run.release["members"]) == sorted(HOSPITALS)
    report, card, released = network.evidence(run)
    assert "585 weights recomputed" in next(c.detail for c in report.checks if c.name == "model")
    assert (card["kind"], card["model"], card["mode"]) == ("risk", INFARCTION.name, mode)
    assert card["limits"] == list(INFARCTION.limits)
    assert card["privacy"]["epsilon"] == pytest.approx(plan.epsilon, abs=1e-6)
    assert run.release["evaluation"]["missing"] is None
    start = INFARCTION.start(plan.model_spec)
    assert len(released) == start.size
    # Everyone took the same steps of summed updates and noise: weights did not stay where they
    # were. On the grid of an update one of them may have come back, a layer of them cannot.
    assert np.count_nonzero(np.array(released) == start) <= 5
    for name in network.hospitals:
        assert network.book(name)[run.id].marked == plan.steps
