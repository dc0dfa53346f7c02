"""The evaluation of a run: real drivers on both sides, real noise, in one process.

Four hospitals hold known histograms; what is published must be their sum within the stated noise,
whoever is lost on the way, and a run that cannot be measured must still be released.
"""

import asyncio
import dataclasses
import os
from types import SimpleNamespace

import numpy as np
import pytest

from hospital_node.privacy.mechanism import Mechanism
from models import evaluation as maths
from server import evaluate
from server.coordinator import Coordinator
from server.paths import ServerPaths
from server.transcript import FAILED, FINISHED, OPEN, Transcript
from tests.simulators.entropy import known
from tests.simulators.finished_run import HOSPITALS, found, make_plan
from tests.simulators.secsum.wire import Site, attending
from twinward.errors import EvidenceError
from twinward.ids import RunId
from twinward.plan import Evaluation, evaluation_run
from twinward.signing import Identity

ASKED = Evaluation(holdout_share=0.2, epsilon=3.0, bins=8, spare_attempts=1)
ILL = np.array([2, 3, 5, 7, 9, 14, 20, 40], dtype=float)
WELL = ILL[::-1].copy()
MODEL = b"M" * 32


class Measured:
    """An evaluation under way: a coordinator's own part and four hospitals."""

    def __init__(self, folder, *, noise=0):
        self.noise = noise
        self.sites = {org: Site(dimension=2 * ASKED.bins) for org in HOSPITALS}
        identity = Identity.generate()
        members = {org: site.identity for org, site in self.sites.items()}
        founding = found({"coordinator": identity, **members})
        self.coordinator = Coordinator(
            paths=ServerPaths(folder), settings=None, founding=founding, identity=identity,
            chain=None, superlink=None, ledger=None, audit=None,
        )  # fmt: skip
        self.plan = make_plan(founding, steps=5, evaluation=ASKED)
        self.numbers = self.plan.for_evaluation()
        self.run = RunId(os.urandom(32).hex())
        self.events, self.models, self.tasks = [], {}, {}
        self.too_few = asyncio.Event()

    def _work(self, org):
        site = self.sites[org]
        same = known(f"noise {self.noise} of {org}")  # in every run of the test
        mechanism = Mechanism(self.numbers, entropy_for_tests_only=same)

        def contribute(step, epoch, members):
            site.on_contribute(step, epoch)
            return mechanism.contribute(np.concatenate([ILL, WELL]) / 4, members).vector

        return dataclasses.replace(
            site.work(), contribute=contribute, apply=lambda step, total: None,
            model_digest=lambda: self.models.get(org, MODEL),
        )  # fmt: skip

    async def _hospital(self, org):
        name, own_run = self.sites[org].name, evaluation_run(bytes.fromhex(self.run))
        while own_run not in self.coordinator.secure_sums:  # noqa: ASYNC110 - as a node does
            await asyncio.sleep(0.01)
        await self.sites[org].join(
            attending(self.coordinator.secure_sums[own_run], name),
            sites=list(self.sites.values()), coordinator=self.coordinator.identity, run=own_run,
            steps=1, work=self._work(org), plan_digest=self.plan.digest, slot_seconds=0.01,
            max_abs_sum=self.numbers.max_abs_sum, attempts_before=len(self.sites[org].marks),
            last_epoch=max((epoch for epoch, _ in self.sites[org].marks), default=0),
        )  # fmt: skip

    async def go(self, *, coming=HOSPITALS, taken_up=False, gather_seconds=5.0):
        async def tell(event):
            self.events.append(event)

        async with asyncio.timeout(20):
            self.tasks = {org: asyncio.create_task(self._hospital(org)) for org in coming}
            self.evaluating = asyncio.create_task(evaluate.evaluate(
                self.coordinator, self.plan, run=self.run,
                members=[site.name for site in self.sites.values()],
                too_few=self.too_few.wait(), progress=tell, taken_up=taken_up,
                gather_seconds=gather_seconds,
            ))  # fmt: skip
            await asyncio.wait([self.evaluating])
            for task in self.tasks.values():
                task.cancel()
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        if not self.evaluating.cancelled():
            self.evaluating.result()
        return self.published()

    def published(self, model=MODEL):
        record = Transcript.open(self.coordinator.paths.evaluation(self.run))
        try:
            self.outcome = record.outcome
            return evaluate.figures(
                record, plan=self.plan, founding=self.coordinator.founding,
                run=bytes.fromhex(self.run), model=model,
            )[0]  # fmt: skip
        finally:
            record.close()


def run(measured, **options):
    return asyncio.run(measured.go(**options))


def error_in_sd(said, *, hospitals):
    """How far each published count is from the truth, in standard deviations as stated."""
    truth = np.concatenate([ILL, WELL]) * hospitals / 4
    figures = said["figures"]
    return (np.array(figures["ill"] + figures["well"]) - truth) / figures["noise_sd"]


def test_what_is_published_is_the_sum_within_the_noise_that_it_states(tmp_path):
    off = []
    for n in range(12):
        said = run(Measured(tmp_path / str(n), noise=n))
        assert said["missing"] is None
        off.append(error_in_sd(said, hospitals=4))
    assert np.std(off) == pytest.approx(1.0, abs=0.2)  # 192 draws: sd of the sd is .05
    assert np.abs(np.mean(off)) < 0.3
    exact = maths.auroc_of(maths.Counts(ILL, WELL)).estimate.value
    found = said["figures"]["auroc"]
    assert abs(found["value"] - exact) < 5 * found["noise_sd"]
    assert said["privacy"]["attempts_charged"] == dict.fromkeys(HOSPITALS, 1)
    # No count of a hospital, of a cohort or of a hold-out stands beside the noised histogram.
    assert set(said) == {
        "schema", "run", "evaluation", "plan", "weights", "missing", "privacy", "figures",
    }  # fmt: skip


def test_a_hospital_that_dies_while_measuring_costs_the_others_a_second_noised_attempt(tmp_path):
    measured = Measured(tmp_path)

    def fall(step, epoch):
        measured.tasks["chur"].cancel()
        raise asyncio.CancelledError

    measured.sites["chur"].on_contribute = fall
    said = run(measured)
    assert measured.outcome == FINISHED
    assert [e.kind for e in measured.events].count("lost") == 1
    charged = said["privacy"]["attempts_charged"]
    assert charged == {"basel": 2, "bern": 2, "genf": 2, "chur": 2}
    assert said["privacy"]["fewest_members"] == 3
    assert np.abs(error_in_sd(said, hospitals=3)).max() < 5


def test_a_hospital_that_does_not_come_is_not_waited_for_long(tmp_path):
    measured = Measured(tmp_path)
    said = run(measured, coming=HOSPITALS[:3], gather_seconds=0.4)
    assert said["missing"] is None
    assert said["privacy"]["attempts_charged"] == {"basel": 1, "bern": 1, "chur": 1, "genf": 0}
    assert np.abs(error_in_sd(said, hospitals=3)).max() < 5


def test_with_two_hospitals_nothing_is_measured_and_the_reason_is_kept(tmp_path):
    measured = Measured(tmp_path)
    said = run(measured, coming=HOSPITALS[:2], gather_seconds=0.4)
    assert measured.outcome == FAILED
    assert "a secure sum of 2 members is refused" in said["missing"]
    assert "figures" not in said
    assert said == measured.published()  # asked again after a restart, it says the same


def test_it_ends_at_once_when_too_few_can_still_come(tmp_path):
    measured = Measured(tmp_path)

    async def hopeless():
        measured.too_few.set()
        started = asyncio.get_running_loop().time()
        said = await measured.go(coming=())
        return said, asyncio.get_running_loop().time() - started

    said, seconds = asyncio.run(hopeless())
    assert "fewer than three hospitals" in said["missing"]
    assert seconds < 2.5  # and not the five that whoever does not come is waited for


def test_losing_two_of_four_in_a_row_uses_up_the_attempts_and_nothing_is_published(tmp_path):
    measured = Measured(tmp_path)

    def fall(org):
        def now(step, epoch):
            if epoch == {"chur": 1, "genf": 2}[org]:
                measured.tasks[org].cancel()
                raise asyncio.CancelledError

        return now

    for org in ("chur", "genf"):
        measured.sites[org].on_contribute = fall(org)
    said = run(measured)
    assert said["missing"]
    assert len(measured.sites["basel"].marks) == 2
    assert measured.outcome == FAILED


def test_an_evaluation_of_another_model_is_never_published(tmp_path):
    measured = Measured(tmp_path)
    run(measured)
    with pytest.raises(EvidenceError) as refused:
        measured.published(model=b"X" * 32)
    assert refused.value.code == "TW8502"


def test_members_that_measured_different_models_come_to_nothing(tmp_path):
    measured = Measured(tmp_path)
    measured.models["bern"] = b"B" * 32
    said = run(measured)
    assert measured.outcome == FAILED
    assert "another end of the run" in said["missing"]


def test_an_evaluation_that_a_crash_interrupted_counts_as_missing(tmp_path):
    measured = Measured(tmp_path)
    record = Transcript.create(
        measured.coordinator.paths.evaluation(measured.run),
        run=evaluation_run(bytes.fromhex(measured.run)), plan=measured.plan.digest,
    )  # fmt: skip
    record.close()
    assert "stopped during the evaluation" in measured.published()["missing"]


def stop_at_a_vector(measured, **how):
    """The coordinator's process ends while hospitals make their vectors; the next one is up."""
    measured.sites["chur"].on_contribute = lambda step, epoch: measured.evaluating.cancel()
    assert "stopped during the evaluation" in run(measured, **how)["missing"]
    assert measured.outcome == OPEN
    measured.sites["chur"].on_contribute = lambda step, epoch: None
    measured.coordinator.secure_sums.clear()
    measured.too_few = asyncio.Event()


def test_an_evaluation_that_a_stop_interrupted_is_made_again_for_its_spare_attempt(tmp_path):
    measured = Measured(tmp_path)
    stop_at_a_vector(measured)
    said = run(measured, taken_up=True)
    assert (said["missing"], measured.outcome) == (None, FINISHED)
    assert np.abs(error_in_sd(said, hospitals=4)).max() < 5
    charged = said["privacy"]["attempts_charged"]
    for org, site in measured.sites.items():
        assert len(site.marks) <= charged[org] <= ASKED.spare_attempts + 1
        assert len(site.marks) == len(set(site.marks))
    assert len(measured.sites["chur"].marks) == 2  # one vector may have left before the stop


def test_stopped_once_more_its_attempts_are_gone_and_the_model_goes_without_figures(tmp_path):
    measured = Measured(tmp_path)
    stop_at_a_vector(measured)
    stop_at_a_vector(measured, taken_up=True)
    said = run(measured, taken_up=True)
    assert "attempts are left" in said["missing"]
    assert all(len(site.marks) <= ASKED.spare_attempts + 1 for site in measured.sites.values())


def test_the_course_of_a_training_is_public_and_the_same_every_time():
    from models.cardiac_risk import recipe

    plan = recipe.plan(
        network="0" * 64, study="heart-risk", sites=("a1", "b1", "c1"), divisor=600,
        purpose="heart-research", grades=("signed-on-device",),
    )  # fmt: skip
    course = evaluate.course(plan, [plan.start, 0 * plan.start])
    assert course == evaluate.course(plan, [plan.start, 0 * plan.start])
    assert 0.75 < course[0] == course[1] < 0.95
    assert course[2] == 0.5


def test_a_model_that_is_not_installed_as_in_the_plan_has_no_course():
    plan = SimpleNamespace(model="cardiac_risk/1", model_spec={}, sites=("a1",), start=None)
    assert evaluate.course(plan, []) is None
