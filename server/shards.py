"""What became of the shards of a study: their models, newest last, and what hospitals wish.

Read from the coordinator's own folder and from the ledger; nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.chain import Chain
from server import order, publish
from server.paths import ServerPaths
from server.release import KIND as RELEASE_KIND
from server.release import is_available
from server.retire import FILE as RETIRED
from server.studies import SignedStudy
from twinward import shards
from twinward.errors import UsageError
from twinward.founding import Founding
from twinward.ids import OrgName, RunId
from twinward.plan import Plan
from twinward.signing import Document


@dataclass(frozen=True, slots=True)
class ShardModel:
    """A released model of one shard.

    Attributes:
        run: Which run it is of.
        place: The folder of its release.
        release: The signed release.
        nth: The how manieth run of its shard it was, from 1: so often its patients were charged.
        in_use: Whether it is not retired.
    """

    run: RunId
    place: Path
    release: Document
    nth: int
    in_use: bool


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of a study.

    Attributes:
        number: From 0.
        runs: How many were ever ordered: each charged who was in it.
        models: Of those that were released, the newest last.
    """

    number: int
    runs: int
    models: tuple[ShardModel, ...]

    @property
    def newest(self) -> ShardModel | None:
        """The newest model that is in use."""
        return next((model for model in reversed(self.models) if model.in_use), None)

    @property
    def older(self) -> tuple[ShardModel, ...]:
        """Those that it replaces, in use or not."""
        newest = self.newest
        return () if newest is None else self.models[: self.models.index(newest)]


def require_shard(plan: Plan, shard: int | None) -> None:
    """Refuse a run that says a shard which its plan does not have, or none where it has some.

    Raises:
        UsageError: TW6244.
    """
    fits = shard is None if plan.shards is None else shard is not None and 0 <= shard < plan.shards
    if not fits:
        has = "no shards" if plan.shards is None else f"{plan.shards} shards, numbered from 0"
        raise UsageError(
            "a run trains one shard of a plan that has shards, and whole any other",
            code="TW6244",
            note=f"the plan of `{plan.study}` has {has}",
            help="`twinward server shards FOLDER STUDY` shows them, `--train NUMBER` runs one",
        )


def of_study(paths: ServerPaths, study: SignedStudy) -> tuple[Shard, ...]:
    """Every shard of a study, in order.

    Raises:
        UsageError: TW6244, its plan has none.
    """
    if study.plan.shards is None:
        require_shard(study.plan, 0)
    digest = study.plan.digest.hex()
    orders = [Document.decode(path.read_bytes(), kind=order.KIND) for path in _orders(paths)]
    mine = [one.payload for one in orders if one.payload["plan"] == digest]
    # An order names all that came before it, so it is the younger the more these are.
    mine.sort(key=lambda payload: len(payload["earlier"]))
    return tuple(
        _shard(paths, number, [one["run"] for one in mine if shards.of_order(one) == number])
        for number in range(study.plan.shards or 0)
    )


def _orders(paths: ServerPaths) -> list[Path]:
    return sorted(paths.orders.glob("*.json"))


def _shard(paths: ServerPaths, number: int, runs: list[RunId]) -> Shard:
    models = []
    for nth, run in enumerate(runs, 1):
        place = publish.release_folder(paths, run)
        if is_available(place):
            release = Document.decode((place / "release.json").read_bytes(), kind=RELEASE_KIND)
            in_use = not (place / RETIRED).exists()
            models.append(ShardModel(run, place, release, nth, in_use))
    return Shard(number, len(runs), tuple(models))


def wanted_by(chain: Chain, founding: Founding, run: RunId) -> OrgName | None:
    """The first hospital that wants the shard of this run trained again; None if nobody does.

    Raises:
        LedgerError: TW5001.
    """
    by = chain.recorded_by(shards.wanted(bytes.fromhex(run)))
    hospitals = {one.ledger_account.lower(): one.org for one in founding.hospitals}
    return None if by is None else hospitals.get(by)


def price(plan: Plan) -> dict[str, Any]:
    """What a run of one shard costs whoever is in it, and nobody else; for people and machines."""
    return {
        "epsilon": plan.epsilon,
        "delta": plan.delta,
        "mu2": plan.mu**2,
        "attempts": plan.attempts,
        "hospitals": list(plan.sites),
    }
