"""Nothing of what a patient left out reaches a vector, a score or an evaluation.

With the noise switched to a known stream a vector is a function of what was read, so what can be
changed without changing it was not read.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from consent.study import OptionalCategory
from hospital_node import holdout, train
from hospital_node.data import uci, virtual
from hospital_node.evaluate import HeldOut
from hospital_node.memory import Memory
from hospital_node.privacy.mechanism import Mechanism
from hospital_node.shares import ALL, NOTHING
from hospital_node.twins import validation_node
from models import evaluation
from models.cardiac_risk import recipe as logistic
from models.mlp_risk import recipe as network
from server.studies import TEMPLATES
from tests.simulators.consent.world import STUDY
from tests.simulators.permits import Permits

SITES = ("harbour", "meadow", "summit", "station")
HEART = TEMPLATES["heart-risk"]
ASKED = replace(
    STUDY,
    categories=HEART.categories,
    optional=tuple(OptionalCategory(name, HEART.optional[name]) for name in sorted(HEART.optional)),
)
BLOOD, EXAMINATIONS = ALL + 1, ALL + 2
OF_BLOOD, OF_EXAMINATIONS = (one.columns for one in ASKED.optional)


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    files = virtual.write(tmp_path_factory.mktemp("data"))
    return uci.read(files["harbour"], hospital="harbour")


RECIPES = {"logistic": logistic.plan, "network": network.plan, "fedavg": network.local_plan}


@pytest.fixture(scope="module", params=RECIPES)
def plan(request):
    return RECIPES[request.param](
        network="0" * 64, study="heart-risk", sites=SITES, divisor=600, purpose="heart-research",
        grades=("signed-on-device",), evaluation=logistic.EVALUATION,
    )  # fmt: skip


class Site:
    """A node with these records, and a run of the plan at it."""

    key = bytes(range(32))  # the same patients are held out in every run

    def __init__(self, patients, plan, columns=None):
        self.node = SimpleNamespace(
            patients=replace(patients, columns=columns or patients.columns),
            settings=SimpleNamespace(org="harbour", threads=1),
            rules=SimpleNamespace(require=lambda *_, **__: None),  # the site's policy permits
            mirror=SimpleNamespace(head=bytes(32)),
            lifetime=SimpleNamespace(allowed=lambda run, permitted: permitted),  # all can pay
            places=holdout.places(self.key, patients.records),
            memory=Memory(),
        )
        self.plan, self.cohort = plan, Permits(len(patients.records))
        order = train.Order("0" * 64, SimpleNamespace(plan=plan, study=ASKED))
        self.run = train.ActiveRun(self.node, order, self.cohort)
        self.run._mechanism = Mechanism(plan, entropy_for_tests_only=bytes)
        self.step = 0

    def vector(self):
        self.step += 1
        return self.run.contribute(self.step, 1, 4)

    def held_out(self):
        approved = SimpleNamespace(plan=self.plan, study=ASKED)
        return HeldOut(self.node, approved, cohort=self.cohort, weights=self.plan.start)


def altered(patients, names, rows):
    """Other values in these columns of these patients."""
    columns = {name: values.copy() for name, values in patients.columns.items()}
    for name in names:
        columns[name][rows] = np.where(columns[name][rows] == 1.0, 0.0, 1.0)
        if name in {"trestbps", "chol", "thalach"}:
            columns[name][rows] = 222.0
    return columns


def trained(patients, plan):
    places = holdout.places(Site.key, patients.records)
    return np.flatnonzero(holdout.within(places, holdout.trained(plan.holdout_share)))


def test_training_reads_nothing_of_what_was_left_out_and_all_of_the_rest(patients, plan):
    who = trained(patients, plan)[:25]
    honest = Site(patients, plan)
    other = Site(patients, plan, altered(patients, OF_BLOOD, who))
    assert not np.array_equal(honest.vector(), other.vector())
    for site in (honest, other):
        site.cohort.shares[who] = BLOOD
    narrowed = honest.vector()
    assert np.array_equal(narrowed, other.vector())
    rest = Site(patients, plan, altered(patients, OF_EXAMINATIONS, who))
    rest.cohort.shares[who] = BLOOD
    assert not np.array_equal(narrowed, rest.vector())


def test_what_is_left_out_is_as_if_it_had_never_been_recorded(patients, plan):
    who = trained(patients, plan)[:25]
    columns = {name: values.copy() for name, values in patients.columns.items()}
    for name in OF_EXAMINATIONS:
        columns[name][who] = np.nan
    site = Site(patients, plan)
    site.cohort.shares[who] = EXAMINATIONS
    never = Site(patients, plan, columns).vector()
    assert np.abs(site.vector() - never).max() <= 1  # two sums, each rounded, instead of one


def test_a_change_of_mind_counts_from_the_very_next_step(patients, plan):
    who, site = trained(patients, plan)[3], Site(patients, plan)
    whole = site.vector()
    site.cohort.shares[who] = EXAMINATIONS
    narrowed = site.vector()
    site.cohort.shares[who] = NOTHING
    gone = site.vector()
    site.cohort.shares[who] = ALL
    assert np.array_equal(site.vector(), whole)
    assert len({vector.tobytes() for vector in (whole, narrowed, gone)}) == 3


def test_whoever_is_erased_counts_in_neither_sum(patients, plan):
    who, site = trained(patients, plan)[:3], Site(patients, plan)
    site.cohort.shares[who] = BLOOD
    site.vector()
    site.run.forget(int(who[1]))
    left = site.vector()  # the consents still say yes: there is nothing to count
    site.cohort.shares[who[1]] = NOTHING
    assert np.array_equal(left, site.vector())


def test_an_evaluation_reads_nothing_of_what_was_left_out(patients, plan):
    places = holdout.places(Site.key, patients.records)
    out = np.flatnonzero(holdout.within(places, holdout.held_out(plan.holdout_share)))

    def counts(columns, share):
        site = Site(patients, plan, columns)
        test = site.held_out()
        test.permitted()  # scored once with everything: a change of mind is followed
        site.cohort.shares[out] = share
        return evaluation.to_vector(evaluation.binned(*test.of(test.permitted()), bins=8))

    other = altered(patients, OF_EXAMINATIONS, out)
    assert not np.array_equal(counts(None, ALL), counts(other, ALL))
    assert np.array_equal(counts(None, EXAMINATIONS), counts(other, EXAMINATIONS))


def test_a_validation_reads_nothing_of_what_was_left_out(patients, plan, monkeypatch):
    approved = SimpleNamespace(plan=plan, study=ASKED)
    monkeypatch.setattr(validation_node.approvals, "load", lambda *_, **__: approved)
    released = SimpleNamespace(plan=plan, weights=plan.start, evaluation=None)
    everybody = np.arange(len(patients.records))

    def measured(columns, share):
        site = Site(patients, plan, columns)
        site.cohort.shares[:] = share
        site.node.folder = site.node.founding = None
        site.node.cohort = lambda _: site.cohort
        found = validation_node._measured(site.node, approved, released, None)
        own = [] if found.own is None else [found.own.x]
        return [found.scores, *found.columns.values(), *own]

    def same(first, second):
        pairs = zip(first, second, strict=True)
        return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)

    other = altered(patients, OF_EXAMINATIONS, everybody)
    assert not same(measured(None, ALL), measured(other, ALL))
    assert same(measured(None, EXAMINATIONS), measured(other, EXAMINATIONS))
