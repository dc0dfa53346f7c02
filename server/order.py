"""The coordinator's signed order of one run; on disk before anyone hears of it, never made twice.

A run that a stop of the coordinator interrupted goes on under the order that it had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from server.paths import ServerPaths
from server.studies import SignedStudy
from server.transcript import OPEN, Transcript
from twinward.clock import Clock, iso
from twinward.ids import RunId
from twinward.plan import Plan
from twinward.shards import Shard
from twinward.signing import Document, Identity, random_hex32

KIND = "twinward/run/v1"


def fresh(shard: int | None) -> tuple[RunId, Shard | None]:
    """The name of a new run, and the shard that it is the name of."""
    seed = random_hex32()
    named = None if shard is None else Shard(shard, seed)
    return (RunId(seed) if named is None else named.run), named


def signed(
    run: RunId,
    plan: Plan,
    *,
    identity: Identity,
    clock: Clock,
    earlier: Sequence[Mapping[str, Any]],
    parent: RunId | None,
    shard: Shard | None = None,
) -> Document:
    """The order to run this plan; ``earlier`` are the runs that were ordered before it.

    Of a plan with shards it is the order of one; ``run`` is the shard's name for it.
    """
    return Document(
        KIND,
        {
            "run": run,
            "study": plan.study,
            "plan": plan.digest.hex(),
            "issued_at": iso(clock.now()),
            "epsilon": plan.epsilon,
            "delta": plan.delta,
            "evaluation_epsilon": plan.evaluation and plan.evaluation.epsilon,
            "earlier": list(earlier),
            **({} if parent is None else {"parent": parent}),
            **({} if shard is None else {"shard": shard.as_json()}),
        },
    ).signed_by(identity)


def of(paths: ServerPaths, run: RunId) -> Document:
    """The order of a run, as it was carried to the hospitals."""
    return Document.decode(paths.order(run).read_bytes(), kind=KIND, at="order")


def is_open(paths: ServerPaths, run: RunId) -> bool:
    """Whether a run that a stop of the coordinator interrupted has a transcript to go on from."""
    path = paths.transcript(run)
    if not path.exists():
        return False
    with closing(Transcript.open(path)) as transcript:
        return transcript.outcome == OPEN


def can_go_on(paths: ServerPaths, run: RunId, study: SignedStudy) -> bool:
    """Whether an open run is of the plan that the study has now."""
    return is_open(paths, run) and of(paths, run).payload["plan"] == study.plan.digest.hex()
