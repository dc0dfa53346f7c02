"""What the real coordinator writes down is what the verifier can follow, losses and returns too."""

import asyncio
import dataclasses
import os

import pytest

from ledger import verify
from server.model_card import CardTexts
from server.release import release
from server.secure_sum import SecureSumRun
from server.transcript import Transcript
from tests.simulators.finished_run import HOSPITALS, NoLedger, found, make_plan
from tests.simulators.secsum.wire import Site, attending
from twinward import descent
from twinward.signing import Document, Identity

TEXTS = CardTexts(
    title="Risk", kind="risk", intended_use="Research.", limits=("None.",), hyper_parameters="Said."
)


class Driven:
    """Real drivers on both sides, joined in one process; sites hold real weights."""

    def __init__(self, folder, *, steps):
        self.sites = {org: Site(dimension=3) for org in HOSPITALS}
        self.coordinator, self.run = Identity.generate(), os.urandom(32)
        identities = {org: site.identity for org, site in self.sites.items()}
        self.founding = found({"coordinator": self.coordinator, **identities})
        self.plan = make_plan(self.founding, steps=steps)
        self.record = Transcript.create(folder / "run.sqlite", run=self.run, plan=self.plan.digest)
        self.pipes, self.tasks = {}, {}
        plan = self.plan
        self.sum = SecureSumRun(
            identity=self.coordinator, run=self.run, plan_digest=plan.digest,
            members={site.name: site.identity.public for site in self.sites.values()},
            dimension=plan.dimension, word_bits=plan.word_bits, max_abs_sum=plan.max_abs_sum,
            steps=plan.steps, spare_attempts=plan.spare_attempts, deadline_seconds=2.0,
            record=self.record, progress=self._ignore,
        )  # fmt: skip

    async def _ignore(self, event):
        pass

    def _work(self, site):
        weights, iterates = [self.plan.start], []

        def apply(step, total):
            weights[0] = descent.step(self.plan, weights[0], total)
            iterates.append(weights[0])

        return dataclasses.replace(
            site.work(),
            apply=apply,
            model_digest=lambda: descent.digest(descent.release(self.plan, iterates)),
        )

    def start(self, org):
        site = self.sites[org]
        pipes = self.pipes.setdefault(org, [])
        self.tasks[org] = asyncio.create_task(
            site.join(
                attending(self.sum, site.name, pipes), sites=list(self.sites.values()),
                coordinator=self.coordinator, run=self.run, steps=self.plan.steps,
                work=self._work(site), plan_digest=self.plan.digest, slot_seconds=0.01,
                max_abs_sum=self.plan.max_abs_sum,
            )
        )  # fmt: skip

    async def go(self):
        async with asyncio.timeout(20):
            for org in self.sites:
                self.start(org)
            await self.sum.drive(gather_seconds=2.0, patience_seconds=2.0)
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    def release(self, folder):
        order = Document("twinward/run/v1", {"run": self.run.hex(), "plan": self.plan.digest.hex()})
        released = release(
            folder, transcript=self.record, founding=self.founding, names=("a", "b", "c"),
            plan=self.plan.to_document().signed_by(self.coordinator), texts=TEXTS,
            order=order.signed_by(self.coordinator), identity=self.coordinator, ledger=NoLedger(),
        )  # fmt: skip
        self.record.close()
        return released


def charged(released):
    return released.privacy["attempts_charged"]


def test_a_run_without_losses(tmp_path):
    driven = Driven(tmp_path, steps=5)
    asyncio.run(driven.go())
    released = driven.release(tmp_path / "r")
    assert verify.verify(released.pack).ok
    assert charged(released) == dict.fromkeys(HOSPITALS, 5)


def test_a_run_that_lost_a_hospital_for_good(tmp_path):
    driven = Driven(tmp_path, steps=5)

    def fall(step, epoch):
        if step == 3:
            driven.tasks["chur"].cancel()
            raise asyncio.CancelledError

    driven.sites["chur"].on_contribute = fall
    asyncio.run(driven.go())
    released = driven.release(tmp_path / "r")
    report = verify.verify(released.pack)
    assert report.ok
    assert any("1 attempts came to nothing" in check.detail for check in report.checks)
    # Three survivors were charged one attempt more; the lost one all that it had reserved.
    assert charged(released) == {"basel": 6, "bern": 6, "chur": 8, "genf": 6}
    assert released.privacy["fewest_members"] == 3


def test_a_run_in_which_a_hospital_came_back(tmp_path):
    driven = Driven(tmp_path, steps=12)

    def lose_the_connection(step, epoch):
        if (step, epoch) == (2, 1):
            driven.pipes["bern"][-1].end(broken=True)
            driven.pipes["bern"][-1].hang_up()

    driven.sites["bern"].on_contribute = lose_the_connection
    asyncio.run(driven.go())
    released = driven.release(tmp_path / "r")
    report = verify.verify(released.pack)
    assert report.ok, report.faults
    assert max(charged(released).values()) <= driven.plan.attempts
    assert charged(released)["basel"] == 13


@pytest.mark.parametrize("stranger", [Identity.generate()])
def test_a_pack_of_it_is_refused_under_another_coordinator(tmp_path, stranger):
    driven = Driven(tmp_path, steps=3)
    asyncio.run(driven.go())
    driven.coordinator = stranger
    with pytest.raises(Exception, match=r"does not fit|signature") as refused:
        driven.release(tmp_path / "r")
    assert refused.value.code == "TW8511"
    driven.record.close()
