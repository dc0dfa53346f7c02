"""Virtual hospitals: reproducible, unlike each other, within the same contract as real files."""

import numpy as np
import pytest

from hospital_node.data import uci, virtual
from models import registry


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("virtual")
    virtual.write(folder)
    return {name: uci.read(path, hospital=name) for name, path in uci.find(folder).items()}


def test_four_hospitals_are_read_by_the_contract(hospitals):
    assert {n: len(t) for n, t in hospitals.items()} == {
        "harbour": 260, "meadow": 240, "station": 190, "summit": 130,
    }  # fmt: skip


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    first = virtual.write(tmp_path / "a", seed=3)
    again = virtual.write(tmp_path / "b", seed=3)
    other = virtual.write(tmp_path / "c", seed=4)
    for name in first:
        assert first[name].read_bytes() == again[name].read_bytes()
        assert first[name].read_bytes() != other[name].read_bytes()


def test_hospitals_differ_in_case_mix_and_in_what_they_measure(hospitals):
    ill = {n: (t.columns["num"] > 0).mean() for n, t in hospitals.items()}
    assert ill["meadow"] < ill["harbour"] < ill["station"] < ill["summit"] < 0.97
    assert np.isnan(hospitals["summit"].columns["chol"]).all()
    assert np.isnan(hospitals["harbour"].columns["ca"]).mean() < 0.1
    assert np.isnan(hospitals["meadow"].columns["ca"]).mean() > 0.8


def test_the_textbook_ranks_them_and_does_not_decide_them(hospitals):
    """The public prior alone must be useful, and far from perfect, in every hospital."""
    from hospital_node.privacy.experiment import auroc

    model, sites = registry.get("cardiac_risk/1"), tuple(hospitals)
    start = model.start(model.spec(sites))
    for name, table in hospitals.items():
        x = model.encode(table.columns, site=name, sites=sites)
        assert 0.7 < auroc(model.predict(start, x), model.labels(table.columns)) < 0.97
