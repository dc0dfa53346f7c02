"""Runs as the ledger shows them: which hospital committed itself when, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ledger.events import Event
from ledger.history import History
from ledger.provenance import Kind
from twinward.plan import evaluation_run

TOPICS = ("kind:Provenance.Recorded", "kind:Provenance.Reserved")
"""All that runs are made of."""


@dataclass(frozen=True, slots=True)
class Share:
    """One hospital's part in a run: from its reservation until it can have used nobody any more.

    ``ended`` is the record of the model or the hospital's next reservation for another run; None
    while neither has come.
    """

    hospital: bytes
    reserved: Event
    ended: Event | None

    @property
    def micro_mu2(self) -> int:
        """The worst case that was set aside, in millionths of mu squared."""
        return self.reserved.integer("microMu2")


@dataclass(slots=True)
class Run:
    """One run; ``measures`` names the run that it evaluates, ``model`` records what came of it."""

    id: bytes
    plan: bytes
    study: bytes | None
    shares: list[Share] = field(default_factory=list)
    measures: bytes | None = None
    model: Event | None = None

    @property
    def first(self) -> int:
        """Number of its first event."""
        return min(share.reserved.number for share in self.shares)


def records(history: History, kind: Kind) -> list[Event]:
    """Every record of this kind, in order."""
    found = history.events(kind="Provenance.Recorded")
    return [event for event in found if event.values["kind"] == int(kind)]


def runs(history: History) -> list[Run]:
    """Every run, in order of its first reservation.

    A model is recorded with its plan as parent. It is taken to be of the plan's newest run before
    it, because a coordinator runs one at a time; the evidence pack says it exactly.
    """
    reservations = list(history.events(kind="Provenance.Reserved"))
    found = _by_id(reservations, studies=_study_of_plan(history))
    for run in found.values():
        run.measures = next((r for r in found if evaluation_run(r) == run.id), None)
    trained = [run for run in found.values() if run.measures is None]
    for model in records(history, Kind.MODEL):
        before = [r for r in trained if r.plan in model.parts("parents") and r.first < model.number]
        if before:
            newest = max(before, key=lambda run: run.first)
            newest.model = newest.model or model
    for run in found.values():
        if run.measures is not None:
            run.model = found[run.measures].model
        run.shares = [
            Share(share.hospital, share.reserved, _end(run, share, reservations))
            for share in run.shares
        ]
    return sorted(found.values(), key=lambda run: run.first)


def _by_id(reservations: Iterable[Event], *, studies: dict[bytes, bytes]) -> dict[bytes, Run]:
    found: dict[bytes, Run] = {}
    for event in reservations:
        run, plan, hospital = map(event.raw, ("run", "plan", "hospital"))
        share = Share(hospital, event, None)
        found.setdefault(run, Run(run, plan, studies.get(plan))).shares.append(share)
    return found


def _study_of_plan(history: History) -> dict[bytes, bytes]:
    """Digest of the study's document by digest of the plan."""
    studies = {event.raw("digest") for event in records(history, Kind.STUDY)}
    return {
        plan.raw("digest"): parent
        for plan in records(history, Kind.PLAN)
        for parent in plan.parts("parents")
        if parent in studies
    }


def _end(run: Run, share: Share, reservations: Iterable[Event]) -> Event | None:
    own = {run.id, run.measures, evaluation_run(run.id)}
    later = [
        event
        for event in reservations
        if event.number > share.reserved.number
        and event.values["hospital"] == share.hospital
        and event.values["run"] not in own
    ]
    ends = [*later[:1], *([run.model] if run.model else [])]
    return min(ends, key=lambda event: event.number, default=None)
