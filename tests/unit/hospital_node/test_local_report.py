"""The hospital's own report: exact, only for its own eyes, silent where too few stand behind it."""

import stat

import numpy as np
import pytest

from hospital_node import local_report, settings
from models import evaluation
from models.cardiac_risk import recipe

RUN = "ab" * 32


@pytest.fixture
def plan():
    return recipe.plan(
        network="0" * 64, study="heart-risk", sites=("bern", "chur", "genf"), divisor=600,
        purpose="heart-research", grades=("signed-on-device",), evaluation=recipe.EVALUATION,
    )  # fmt: skip


def people(ill, well, seed=1):
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.beta(4, 2, ill), rng.beta(2, 4, well)])
    return scores, np.array([1.0] * ill + [0.0] * well)


def page(plan, ill, well):
    scores, labels = people(ill, well)
    return local_report.render(plan, org="bern", run=RUN, scores=scores, labels=labels).decode()


def test_it_shows_the_exact_figures_and_says_that_they_stay(plan):
    text = page(plan, 30, 30)
    assert f"AUROC {evaluation.auroc(*people(30, 30)):.3f}" in text
    assert text.count("Release class: <strong>stays at the node</strong>") == 2
    assert "do not send" in text
    assert "<svg" in text


@pytest.mark.parametrize(("ill", "well"), [(9, 60), (60, 9), (0, 40), (0, 0)])
def test_with_fewer_than_ten_of_a_class_it_says_too_few_and_no_number(plan, ill, well):
    text = page(plan, ill, well)
    assert "Too few" in text
    assert "AUROC 0." not in text
    assert "ROC curve</title>" not in text


def test_it_lies_at_the_node_readable_by_its_user_alone(plan, tmp_path):
    made = settings.NodeSettings(org="bern", data=tmp_path / "x", desk_port=1, flower_port=2)
    settings.write(tmp_path / settings.FILE, made)
    scores, labels = people(20, 20)
    path = local_report.write(tmp_path, plan, run=RUN, scores=scores, labels=labels)
    assert path == tmp_path / "state" / "reports" / f"{RUN}.html"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    again = local_report.write(tmp_path, plan, run=RUN, scores=scores, labels=labels)
    assert again == path
