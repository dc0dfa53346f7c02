"""Who was in the training: told from bare models, not from noised ones, never of a hospital."""

import os
from pathlib import Path

import numpy as np
import pytest

from hospital_node.data import virtual
from hospital_node.privacy.audit import lira
from models.cardiac_risk import recipe
from twinward.errors import DataError

pytestmark = pytest.mark.usefixtures("same_noise")
needs_data = pytest.mark.skipif(
    "TWINWARD_DATA_DIR" not in os.environ, reason="needs the UCI files: set TWINWARD_DATA_DIR"
)
PLAN = recipe.plan(
    network="00" * 32, study="heart-risk", sites=["north", "east", "south"], divisor=900,
    purpose="health research", grades=["staff_attested"],
)  # fmt: skip


def test_answers_that_know_nothing_give_chance():
    include = lira.halves(500, models=100)
    shown = np.random.default_rng(7).normal(size=include.shape)
    found = lira.leak("nothing", shown, include)
    assert abs(found.area.mean - 0.5) < 4 * found.area.half_width / 1.96
    assert abs(found.hits.mean - 0.01) < 4 * found.hits.half_width / 1.96


def test_answers_that_know_everything_give_certainty():
    include = lira.halves(500, models=100)
    shown = include + 0.05 * np.random.default_rng(8).normal(size=include.shape)
    found = lira.leak("everything", shown, include)
    assert found.area.mean > 0.999
    assert found.hits.mean > 0.99


def test_a_known_gap_gives_the_area_it_should():
    """Members shifted by one standard deviation: the best attack has Phi(1 / sqrt 2)."""
    include = lira.halves(400, models=400)
    shown = include + np.random.default_rng(9).normal(size=include.shape)
    assert lira.leak("one sd", shown, include).area.mean == pytest.approx(0.7602, abs=0.015)


def test_records_of_a_hospital_are_refused(tmp_path):
    virtual.write(tmp_path)
    with pytest.raises(DataError) as refusal:
        lira.public(tmp_path)
    assert refusal.value.code == "TW4401"


@needs_data
def test_one_changed_record_makes_a_public_file_a_private_one(tmp_path):
    source = Path(os.environ["TWINWARD_DATA_DIR"])
    for path in source.rglob("processed.*.data"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    lira.public(tmp_path)
    changed = tmp_path / "processed.va.data"
    changed.write_bytes(changed.read_bytes().replace(b"63,1,4", b"64,1,4", 1))
    with pytest.raises(DataError) as refusal:
        lira.public(tmp_path)
    assert refusal.value.code == "TW4401"


@needs_data
def test_noise_hides_members_that_models_without_it_show():
    cohort = lira.public(Path(os.environ["TWINWARD_DATA_DIR"]))
    bare, _, _, _, noised = lira.compare(cohort, plan=PLAN, models=96)
    assert bare.area.mean - bare.area.half_width > 0.53
    assert noised.method == "epsilon 1"
    assert noised.area.mean - noised.area.half_width < 0.52
    assert noised.area.mean + noised.area.half_width < bare.area.mean - bare.area.half_width
