"""The evaluation of a run: one more secure sum, over score histograms of held-out patients.

The coordinator sees the noised sum of all hospitals' histograms and nothing else; AUROC, ROC and
calibration follow from it. A run whose evaluation comes to nothing (too few hospitals, attempts
used up, too little budget) is released without figures, and the report says why. One that a stop of
the coordinator interrupted is made again at its next start, for one of its spare attempts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import evaluation, registry
from server import order, studies
from server.coordinator import Coordinator
from server.finished import Finished, sums_of
from server.secure_sum import SecureSumRun
from server.secure_sum_outcome import Progress, names
from server.transcript import FINISHED, OPEN, Transcript
from twinward import descent
from twinward.errors import TwinModelError, TwinwardError
from twinward.founding import Founding
from twinward.ids import Fingerprint, RunId
from twinward.logging import log
from twinward.plan import Plan, evaluation_run
from twinward.secsum.profile import colluders

SCHEMA = "twinward/evaluation/v1"
GATHER_SECONDS = 8.0
"""How long the evaluation waits for a member of the run's last epoch before it starts without."""

_TOO_FEW = "fewer than three hospitals of the last epoch could take part in the evaluation"
_INTERRUPTED = "the coordinator stopped during the evaluation"


async def evaluate(
    coordinator: Coordinator,
    plan: Plan,
    *,
    run: RunId,
    members: Sequence[Fingerprint],
    too_few: Awaitable[object],
    progress: Callable[[Progress], Awaitable[None]],
    gather_seconds: float = GATHER_SECONDS,
    taken_up: bool = False,
) -> None:
    """Sum the histograms of these members; what came of it stands in the evaluation's transcript.

    Args:
        coordinator: This coordinator.
        plan: The plan of the run; it has an evaluation.
        run: The run whose members have all closed it.
        members: The members of its last epoch: they hold the model.
        too_few: Returns once fewer than three of them can still come.
        progress: Told of every event of the sum.
        gather_seconds: How long to wait for a member that does not come.
        taken_up: Whether it was begun by a process that stopped, and goes on from its transcript.
    """
    numbers = plan.for_evaluation()
    own_run = evaluation_run(bytes.fromhex(run))
    path = coordinator.paths.evaluation(run)
    with contextlib.closing(
        Transcript.open(path)
        if taken_up
        else Transcript.create(path, run=own_run, plan=plan.digest)
    ) as record:
        session = SecureSumRun(
            identity=coordinator.identity,
            run=own_run,
            plan_digest=plan.digest,
            members={
                name: member.identity
                for name, member in coordinator.hospitals_of(plan).items()
                if name in members
            },
            dimension=numbers.dimension,
            word_bits=numbers.word_bits,
            max_abs_sum=numbers.max_abs_sum,
            steps=numbers.steps,
            spare_attempts=numbers.spare_attempts,
            deadline_seconds=numbers.deadline_seconds,
            record=record,
            progress=progress,
            goes_on=True,
            taken_up=taken_up,
        )
        coordinator.remember(own_run, session)
        driving = asyncio.ensure_future(
            session.drive(gather_seconds=gather_seconds, patience_seconds=gather_seconds)
        )
        hopeless = asyncio.ensure_future(too_few)
        try:
            await asyncio.wait({driving, hopeless}, return_when=asyncio.FIRST_COMPLETED)
            if not driving.done():
                record.fail(_TOO_FEW)
                session.give_up()
                driving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await driving
        except TwinwardError as error:
            log().warning("evaluation came to nothing", run=run, code=error.code, reason=str(error))
        finally:
            driving.cancel()
            hopeless.cancel()


async def take_up(coordinator: Coordinator, run: RunId) -> None:
    """Make the evaluation of a finished run again that a stop interrupted, if it is still open.

    Hospitals that still wait for it come; nothing is asked of them beyond what they reserved.

    Raises:
        TrainingError: TW6141, its transcript cannot be read.
        UsageError: The study cannot be loaded.
    """
    paths = coordinator.paths
    ordered = order.of(paths, run).payload
    identity = coordinator.identity.public
    plan = studies.load(paths.folder, str(ordered["study"]), identity=identity).plan
    begun = paths.evaluation(run).exists()
    if (
        plan.evaluation is None
        or plan.digest.hex() != ordered["plan"]
        or (begun and not _is_open(paths.evaluation(run)))
    ):
        return
    with contextlib.closing(Transcript.open(paths.transcript(run))) as trained:
        members = names(trained.epochs()[-1].members)
    log().info("an interrupted evaluation is made again", run=run)
    await evaluate(
        coordinator,
        plan,
        run=run,
        members=members,
        too_few=asyncio.Event().wait(),
        progress=_untold,
        taken_up=begun,
    )


def _is_open(path: Path) -> bool:
    with contextlib.closing(Transcript.open(path)) as record:
        return record.outcome == OPEN


async def _untold(progress: Progress) -> None:
    """Nobody follows it: its run was ended by the stop."""


def figures(
    transcript: Transcript | None, *, plan: Plan, founding: Founding, run: bytes, model: bytes
) -> tuple[dict[str, Any], Finished | None]:
    """The content of ``evaluation.json`` and the finished sum behind it, if there is one.

    A function of plan and transcript: asked again after a crash, it says the same.

    Raises:
        EvidenceError: TW8502, a member signed the evaluation of another model.
    """
    about = {
        "schema": SCHEMA,
        "run": run.hex(),
        "evaluation": evaluation_run(run).hex(),
        "plan": plan.digest.hex(),
        "weights": model.hex(),
    }
    if transcript is None or transcript.outcome != FINISHED:
        reason = (transcript and transcript.cause) or _INTERRUPTED
        return {**about, "missing": reason}, None
    numbers = plan.for_evaluation()
    finished = Finished.read(transcript, numbers=numbers, founding=founding)
    finished.require_signed(model)
    counts = evaluation.from_vector(
        next(sums_of(transcript, numbers=numbers)).astype(np.float64) * numbers.grid,
        noise_sd=noise_sd(numbers, members=finished.member_counts[-1]),
    )
    return {
        **about,
        "missing": None,
        "privacy": dict(finished.privacy),
        "figures": evaluation.as_json(counts),
    }, finished


def noise_sd(numbers: Plan, *, members: int) -> float:
    """Standard deviation of the noise in every count of a sum of this many members.

    Each spreads its share over |U| - c, so that it suffices without the shares of c colluders; all
    together it is more than the plan asks for.
    """
    return numbers.noise_multiplier * float(np.sqrt(members / (members - colluders(members))))


def course(plan: Plan, iterates: Sequence[descent.Weights]) -> list[float] | None:
    """AUROC before training and after every step, on made-up patients that are public.

    None where the model has no such patients, or is not installed here as in the plan.
    """
    try:
        registry.require_same_spec(plan.model, plan.model_spec, sites=plan.sites)
        model = registry.risk(plan.model)
    except TwinModelError:
        return None
    columns = registry.reference(plan.model)
    if columns is None:
        return None
    x, labels = model.encode(columns, site=None, sites=plan.sites), model.labels(columns)

    def auroc(weights: NDArray[np.float64]) -> float:
        return evaluation.auroc(model.predict(weights, x), labels)

    return [auroc(weights) for weights in (plan.start, *iterates)]
