"""One run of a study, as numbered steps. Start reading the coordinator here.

The coordinator ships a plan, never code; it adds masked vectors that it cannot open; it releases
only what every member of the last epoch signed. Nothing here can widen who takes part: each
hospital decides that alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial

from ledger.chain import Kind
from server import order, run_absences, run_events
from server import release as releases
from server.coordinator import Coordinator
from server.evaluate import evaluate
from server.publish import earlier_runs, publish
from server.run_absences import Absences
from server.run_events import Event
from server.secure_sum import SecureSumRun
from server.secure_sum_outcome import Outcome, Progress
from server.shards import require_shard
from server.studies import SignedStudy
from server.transcript import OPEN, AttemptRecord, Transcript
from twinward import descent
from twinward.clock import Clock
from twinward.errors import TrainingError
from twinward.files import write_atomic
from twinward.founding import Member
from twinward.ids import Fingerprint, OrgName, RunId
from twinward.plan import Plan
from twinward.rpc.messages_pb2 import Closing, Opening
from twinward.secsum.profile import MIN_MEMBERS
from twinward.secsum.words import Integers
from twinward.signing import Document

CLOSING_KIND = "twinward/closing/v1"
PATIENCE_SECONDS = 20.0
"""How long a run waits for enough members, for signed closings, and for Flower's replies."""

Tell = Callable[[Event], Awaitable[None]]


async def run_study(
    coordinator: Coordinator,
    study: SignedStudy,
    *,
    clock: Clock,
    tell: Tell,
    parent: RunId | None = None,
    interrupted: RunId | None = None,
    goes_on: bool = False,
    shard: int | None = None,
) -> releases.Release:
    """Train one model with every hospital that comes, and release it with its evidence.

    Args:
        coordinator: This coordinator.
        study: What to train.
        clock: Says when it was ordered.
        tell: Told of every event.
        parent: The run of the same plan that a stop of the coordinator ended, in whose place this
            one is. Nothing of it is used: new keys, new noise, the whole price again.
        interrupted: The run that a stop of the coordinator interrupted and that goes on now, from
            the last step that its transcript has (`order.can_go_on`), for one spare attempt.
        goes_on: Whether the run is left open if this process stops.
        shard: Which one to train, of a plan that has shards.

    Raises:
        UsageError: TW6244, the plan has not this shard.
        TrainingError: TW6010 a run is under way, TW6011 a node ended with other weights, and
            what secure sum raises.
        EvidenceError, LedgerError: What releasing raises; nothing is made available then.
    """
    # 1. One run at a time, of a plan that this coordinator signed.
    if coordinator.run is not None:
        raise another_run()
    require_shard(study.plan, shard)
    run = coordinator.run = Run(
        coordinator,
        study,
        clock=clock,
        tell=tell,
        parent=parent,
        interrupted=interrupted,
        goes_on=goes_on,
        shard=shard,
    )
    carried: int | None = None
    try:
        # 2. Study and plan stand on the ledger before anyone is asked.
        await asyncio.to_thread(run.record_plan)
        await tell(run_events.opened(run.id, run.plan, made=run.secure_sum.steps_made))
        # 3. Flower carries plan and first weights to every hospital that is online.
        carried = await asyncio.to_thread(coordinator.superlink.start_run)
        # 4. T steps, each a sum of masked, noised vectors.
        outcome = await run.secure_sum.drive(
            gather_seconds=coordinator.settings.join_window_seconds,
            patience_seconds=PATIENCE_SECONDS,
        )
        # 5. How good is it? One more sum, over patients who were kept out of training.
        await run.evaluate(outcome)
        # 6. The weights that every hospital holds must be ours, bit for bit.
        await run.compare_closings(outcome)
        # 7. Model, card, report, ledger record, evidence pack.
        released = await asyncio.to_thread(publish, coordinator, run.id)
        await tell(run.released(released, outcome))
        return released
    except Exception as error:
        run.transcript.fail(str(error) or type(error).__name__)  # if it had not ended by itself
        raise
    finally:
        coordinator.run = None
        run.finish()
        if carried is not None:
            # Flower would go on waiting for the reply of a hospital that died.
            with contextlib.suppress(TrainingError):
                await asyncio.to_thread(coordinator.superlink.stop_run, carried)


def another_run() -> TrainingError:
    """The refusal of a second run at a time."""
    return TrainingError(
        "another run is under way",
        code="TW6010",
        help="wait until it ends; `twinward server status` shows it",
    )


class Run:
    """One run under way: its order, its secure sum, its transcript, its closings."""

    def __init__(
        self,
        coordinator: Coordinator,
        study: SignedStudy,
        *,
        clock: Clock,
        tell: Tell,
        parent: RunId | None = None,
        interrupted: RunId | None = None,
        goes_on: bool = False,
        shard: int | None = None,
    ) -> None:
        fresh, of_shard = order.fresh(shard)
        self.id = interrupted or fresh
        self.plan = study.plan
        about = (f"run:{self.id}", f"digest:{study.plan.digest.hex()}")
        if interrupted is None:
            self.order = order.signed(
                self.id,
                study.plan,
                identity=coordinator.identity,
                clock=clock,
                earlier=earlier_runs(coordinator.paths, forgotten=coordinator.forgotten),
                parent=parent,
                shard=of_shard,
            )
            coordinator.did("run-ordered", about=about)
            # On disk before anyone hears of the run: what may be charged is never forgotten.
            write_atomic(coordinator.paths.order(self.id), self.order.encode())
        else:
            self.order = order.of(coordinator.paths, self.id)
            coordinator.did("run-taken-up", about=about)
        self._study = study
        self._coordinator = coordinator
        self._tell = tell
        self._members = coordinator.hospitals_of(self.plan)
        self._closings: dict[Fingerprint, bytes] = {}
        self._closing_came = asyncio.Event()
        self.finished = asyncio.Event()
        self.latest: Event = {}
        """The newest event, for whoever asks how it goes."""
        path = coordinator.paths.transcript(self.id)
        self.transcript: _Watched = (
            _Watched.create(path, run=bytes.fromhex(self.id), plan=self.plan.digest)
            if interrupted is None
            else _Watched.open(path)
        )
        self.secure_sum = SecureSumRun(
            identity=coordinator.identity,
            run=bytes.fromhex(self.id),
            plan_digest=self.plan.digest,
            members={name: member.identity for name, member in self._members.items()},
            dimension=self.plan.dimension,
            word_bits=self.plan.word_bits,
            max_abs_sum=self.plan.max_abs_sum,
            steps=self.plan.steps,
            spare_attempts=self.plan.spare_attempts,
            deadline_seconds=self.plan.deadline_seconds,
            record=self.transcript,
            progress=self._progress,
            combine=_combine(self.plan),
            enough=lambda there: self.plan.enough([self._members[name].org for name in there]),
            without=self._without,
            goes_on=goes_on,
            taken_up=interrupted is not None,
        )
        self.absences = Absences(
            self.id,
            self.plan,
            transcript=self.transcript,
            enter=lambda about: coordinator.did("hospital-missing", about=about),
        )
        coordinator.remember(bytes.fromhex(self.id), self.secure_sum)

    async def _without(self, there: Collection[Fingerprint], error: TrainingError) -> TrainingError:
        """The refusal to go on with those who are there, with who was expected and did not come."""
        present = [self._members[name].org for name in there]
        online = await asyncio.to_thread(self._online)
        await self._tell_absent(self.absences.at_epoch(present, online))
        seen = self._coordinator.seen_seconds_ago
        ages = {member.org: seen(name) for name, member in self._members.items()}
        return run_absences.too_few(error, self.absences.as_json(), ages)

    def record_plan(self) -> None:
        """Put study and plan on the ledger, for hospitals to approve; what is there stays."""
        chain, quorum = self._coordinator.chain, self.plan.quorum
        chain.record(self._study.digest, Kind.STUDY, quorum=quorum)
        chain.record(self.plan.digest, Kind.PLAN, [self._study.digest], quorum=quorum)

    def opening(self) -> Opening:
        """What Flower carries to the hospitals: signed order, signed plan, first weights."""
        return Opening(
            run=bytes.fromhex(self.id),
            order=self.order.encode(),
            plan=self._study.plan_document.encode(),
            weights=descent.to_bytes(self.plan.start),
        )

    def take_closing(self, closing: Closing) -> bool:
        """A node's last word, come back through Flower; returns whether the run is finished.

        The signature inside is checked; a closing of another run or of a stranger is ignored,
        because Flower, which brought it, is not believed.
        """
        document = Document.decode(closing.closing, kind=CLOSING_KIND, at="closing")
        for name, member in self._members.items():
            if member.org == document.payload.get("org"):
                document.verify(member.identity)
                if document.payload.get("run") == self.id:
                    self._closings[name] = closing.weights
                    self._closing_came.set()
        return self.finished.is_set()

    async def take_absence(self, member: Member, data: bytes) -> None:
        """A hospital's word on why it is missing; once all have signed, nothing changes any more.

        Raises:
            IdentityError, UsageError: As ``Absences.tells``.
        """
        if self.transcript.outcome == OPEN:
            await self._tell_absent(self.absences.tells(member, data))

    async def _tell_absent(self, found: Sequence[Mapping[str, str]]) -> None:
        if found:
            await self._tell({"event": "absent", "hospitals": [dict(one) for one in found]})

    async def evaluate(self, outcome: Outcome) -> None:
        """Measure the model on held-out patients, if the plan says so; it may come to nothing."""
        if self.plan.evaluation is None:
            return
        await self._tell({"event": "evaluating", "epsilon": self.plan.evaluation.epsilon})
        await evaluate(
            self._coordinator,
            self.plan,
            run=self.id,
            members=outcome.members,
            too_few=self._too_few_left(outcome.members),
            progress=self._evaluation_progress,
        )

    async def _too_few_left(self, members: Sequence[Fingerprint]) -> None:
        """Return once so many members said their last word that too few can still be measured.

        A hospital that takes part in the evaluation closes after it.
        """
        while sum(name not in self._closings for name in members) >= MIN_MEMBERS:
            self._closing_came.clear()
            await self._closing_came.wait()

    async def _evaluation_progress(self, progress: Progress) -> None:
        if progress.kind == "lost":
            missing = [self._coordinator.name_of(name) for name in progress.missing]
            await self._tell({"event": "evaluation-lost", "missing": missing})

    async def compare_closings(self, outcome: Outcome) -> None:
        """Wait for the weights of every member of the last epoch and compare them with ours.

        A member that died after signing its M6 is not waited for long: that signature already
        binds it to the same weights.

        Raises:
            TrainingError: TW6011.
        """
        iterates = descent.follow(self.plan, outcome.sums)
        ours = descent.to_bytes(descent.release(self.plan, iterates))
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while missing := [name for name in outcome.members if name not in self._closings]:
            self._closing_came.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._closing_came.wait()
            except TimeoutError:
                silent = [self._coordinator.name_of(name) for name in missing]
                await self._tell({"event": "closing-missing", "members": silent})
                break
        differing = [name for name, theirs in self._closings.items() if theirs != ours]
        if differing:
            names = ", ".join(self._coordinator.name_of(name) for name in differing)
            raise TrainingError(
                f"{names} ended with other weights than the sums give",
                code="TW6011",
                help="compare the versions of Twinward; nothing was released",
            )

    def finish(self) -> None:
        """Let go of everything; the transcript stays on disk."""
        self.finished.set()
        self.transcript.close()

    def released(self, done: releases.Release, outcome: Outcome) -> Event:
        """The last event of a run that went well."""
        chain = self._coordinator.chain
        return {
            "event": "released",
            "run": self.id,
            "folder": str(done.folder),
            "model": str(done.model),
            "card": str(done.card),
            "pack": str(done.pack),
            "digest": done.digest.hex(),
            "epsilon": self.plan.epsilon,
            "delta": self.plan.delta,
            "attempts": outcome.attempts,
            "attempts_reserved": self.plan.attempts,
            "members": [self._coordinator.name_of(name) for name in outcome.members],
            "absent": self.absences.as_json(),
            "report": str(done.report_page),
            "evaluation": None if done.evaluation is None else run_events.in_short(done.evaluation),
            "ledger_block": chain.tip().number,
            "ledger_head": chain.consent_head().hex(),
            "verified": done.report.ok,
        }

    async def _progress(self, progress: Progress) -> None:
        name_of = self._coordinator.name_of
        event: Event = {
            "event": progress.kind,
            "epoch": progress.epoch,
            "step": progress.step,
            "of": self.plan.steps,
            "members": [name_of(name) for name in progress.members],
            "missing": [name_of(name) for name in progress.missing],
            "ms": round(progress.milliseconds, 1),
            "deadline_seconds": round(progress.deadline_seconds, 1),
        }
        self.latest = event
        if progress.kind == "step" and self.transcript.last is not None:
            seen = run_events.seen(self.transcript.last, self.plan, name_of=name_of)
            event = event | seen
        await self._tell(event)
        if progress.kind == "lost":
            await self._tell_absent(self.absences.lost(event["missing"], silent=progress.silent))
        if progress.kind == "epoch":
            online = await asyncio.to_thread(self._online)
            await self._tell_absent(self.absences.at_epoch(event["members"], online))

    def _online(self) -> frozenset[OrgName]:
        """Whose node Flower takes to be connected; nobody's where it does not say."""
        try:
            return self._coordinator.superlink.online()
        except TrainingError:
            return frozenset()


def _combine(plan: Plan) -> Callable[[Sequence[Integers]], Integers] | None:
    """The plan's robust rule; None where masked vectors are added."""
    if plan.fedavg is None or not plan.visible_updates:
        return None
    from server.flower_aggregate import robust_sum  # noqa: PLC0415 - Flower

    return partial(robust_sum, local=plan.fedavg)


class _Watched(Transcript):
    """A transcript that remembers the attempt it wrote last, for the live view."""

    last: AttemptRecord | None = None

    def add_attempt(self, record: AttemptRecord) -> None:
        """Write it durably, then remember it."""
        super().add_attempt(record)
        self.last = record


__all__ = ["Plan", "Run", "another_run", "run_study"]
