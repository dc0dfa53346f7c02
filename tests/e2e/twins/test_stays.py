"""How long patients stay is learnt over the network from tables of admissions, and taken over."""

from dataclasses import dataclass

import numpy as np
import pytest

from hospital_node.data import records
from hospital_node.twins import census
from models import registry
from tests.simulators.network import Network, twinward

pytestmark = pytest.mark.slow

HOSPITALS = ("harbour", "meadow", "summit")
STUDY, PRIOR = "ward-counts", registry.prior("ward_counts/1")
LINES = 80


@dataclass
class OfWards(Network):
    """A network whose hospitals have tables of made-up admissions."""

    def make_tables(self):
        (self.folder / "data").mkdir()
        written = {}
        for seed, name in enumerate(HOSPITALS, start=1):
            written[name] = self.folder / "data" / f"{name}.csv"
            lines = census.example(days=60, seed=seed, records=True).splitlines()
            written[name].write_text("\n".join(lines[: LINES + 1]))
        return written

    def import_table(self, name):
        """Tables of admissions are read where they lie."""


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    agreed = ("--model", PRIOR.name, "--purpose", "general-research")
    options = ("--expected-patients", "300")
    made = OfWards(tmp_path_factory.mktemp("wards"), options, study=STUDY, agreed=agreed)
    with made.stage:
        made.found()
        made.start()
        yield made


def test_counts_of_stays_are_summed_proved_and_what_the_next_ward_starts_from(network):
    run, plan = network.complete_run(), network.the_plan()
    assert (run.release["verified"], run.release["attempts"]) == (True, 1)
    _, card, released = network.evidence(run)
    assert (card["title"], tuple(card["inputs"])) == (PRIOR.title, PRIOR.names(plan.sites))
    # What came out is the sum over those who said yes, and noise of the width that the plan states.
    exact = np.zeros(len(released))
    for name in HOSPITALS:
        found = records.read(network.local.data[name], hospital=name)
        exact += found.vectors(PRIOR).sum(axis=0)
    noise = plan.max_grad_norm * plan.noise_multiplier * np.sqrt(3 / 2)
    refused = sum(len(records.read(network.local.data[n], hospital=n)) for n in HOSPITALS) / 9 + 2
    off = np.array(released) * plan.divisor - exact
    assert np.abs(off).max() < 6 * noise + refused
    assert np.abs(off).max() > 0

    def call(*words):
        status, said = twinward(network.folder, "twin", *words)
        assert status == 0, said
        return said

    call("census", "example", "new.csv", "--days", "60", "--seed", "9")
    before = call("census", "ask", "new.csv", "--node", "harbour")
    assert call("adopt", "harbour", run.release["pack"])["twin"] == "census/1"
    after = call("census", "ask", "new.csv", "--node", "harbour")
    assert before["population"] == "public"
    assert after["population"].startswith(run.release["digest"])
    assert call("census", "ask", "new.csv")["population"] == "public"
