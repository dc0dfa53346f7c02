"""Releases what a finished run left on disk: now, or after a crash at any line of a release.

All that it needs lies in the coordinator's folder: the signed order, the signed plan, the
transcript. Repeating it gives the same bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models import registry
from server import order, studies
from server import release as releases
from server.coordinator import Coordinator
from server.ledger_link import LedgerLink
from server.model_card import CardTexts
from server.paths import ServerPaths
from server.transcript import FINISHED, Transcript
from twinward import shards
from twinward.ids import RunId
from twinward.plan import Plan


def publish(coordinator: Coordinator, run: RunId) -> releases.Release:
    """Publish a finished run; safe to repeat.

    Raises:
        EvidenceError, LedgerError: Nothing is made available then.
    """
    coordinator.did("model-released", about=(f"run:{run}",))
    paths, identity = coordinator.paths, coordinator.identity
    ordered = order.of(paths, run)
    study = studies.load(paths.folder, str(ordered.payload["study"]), identity=identity.public)
    model = registry.get(study.plan.model)
    link = LedgerLink(
        coordinator.chain,
        endpoint=coordinator.endpoint,
        genesis=coordinator.genesis,
        identity=identity,
        witnesses=coordinator.witnesses,
    )
    with contextlib.ExitStack() as open_files:
        open_files.callback(link.close)
        return releases.release(
            release_folder(paths, run),
            transcript=_opened(paths.transcript(run), open_files),
            evaluation=(
                _opened(paths.evaluation(run), open_files)
                if paths.evaluation(run).exists()
                else None
            ),
            founding=coordinator.founding,
            plan=study.plan_document,
            order=ordered,
            names=model.names(study.plan.sites),
            texts=CardTexts(
                title=model.title,
                kind=model.kind,
                intended_use=model.intended_use,
                limits=(*model.limits, *_of_a_shard(study.plan, ordered.payload)),
                hyper_parameters=study.hyper_parameters,
                other_releases=(
                    *_of_this_run(study.plan),
                    *(_in_words(one) for one in ordered.payload["earlier"]),
                ),
            ),
            identity=identity,
            ledger=link,
        )


def _opened(path: Path, files: contextlib.ExitStack) -> Transcript:
    return files.enter_context(contextlib.closing(Transcript.open(path)))


def unpublished(paths: ServerPaths) -> list[RunId]:
    """Finished runs whose release is not complete: what a crash left."""
    found = []
    for path in sorted(paths.transcripts.glob("*.sqlite")):
        run = RunId(path.stem)
        with contextlib.closing(Transcript.open(path)) as transcript:
            if transcript.outcome == FINISHED and not releases.is_available(
                release_folder(paths, run)
            ):
                found.append(run)
    return found


def earlier_runs(
    paths: ServerPaths, *, forgotten: Sequence[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Every run that this coordinator ever ordered: each may say something of its patients.

    Those that its folder forgot in a restore are as the ledger knows them (``forgotten_runs``).
    """
    earlier = list(forgotten)
    for path in sorted(paths.orders.glob("*.json")):
        run = RunId(path.stem)
        about = order.of(paths, run).payload
        released = releases.is_available(release_folder(paths, run))
        earlier.append(
            {
                "run": run,
                "study": about["study"],
                "issued_at": about["issued_at"],
                "epsilon": about["epsilon"],
                "delta": about["delta"],
                "evaluation_epsilon": about.get("evaluation_epsilon"),
                "released": released,
                **({} if "shard" not in about else {"shard": shards.of_order(about)}),
            }
        )
    return sorted(earlier, key=lambda one: (str(one["issued_at"]), str(one["run"])))


def release_folder(paths: ServerPaths, run: RunId) -> Path:
    """Where the model of a run lies, with its evidence."""
    return paths.releases / run[:16]


def _of_a_shard(plan: Plan, ordered: Mapping[str, Any]) -> tuple[str, ...]:
    if plan.shards is None:
        return ()
    said = (
        f"Trained on shard {shards.of_order(ordered)} of {plan.shards}: about one of "
        f"{plan.shards} patients of each hospital. The model of the study is the mean of the "
        "models of all shards (`twinward server assemble`); use that one."
    )
    return (said,)


def _of_this_run(plan: Plan) -> tuple[str, ...]:
    if plan.evaluation is None:
        return ()
    said = (
        "the evaluation of this model, on other patients of the same hospitals, who were kept out "
        f"of training: epsilon {plan.evaluation.epsilon:g} at delta {plan.delta:g} at most"
    )
    return (said,)


def _in_words(earlier: dict[str, Any]) -> str:
    outcome = "released" if earlier["released"] else "not released, its sums were seen"
    if earlier.get("by_ledger"):
        outcome += "; known from the ledger alone"
    evaluation = earlier.get("evaluation_epsilon")
    measured = f"; epsilon {evaluation:g} for who was held out" if evaluation else ""
    of_shard = f", shard {earlier['shard']}" if "shard" in earlier else ""
    return (
        f"run {earlier['run'][:16]} of `{earlier['study']}`{of_shard} on {earlier['issued_at']}: "
        "epsilon "
        f"{earlier['epsilon']:g} at delta {earlier['delta']:g} at most{measured} ({outcome})"
    )
