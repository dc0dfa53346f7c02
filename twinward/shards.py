"""Shards of a study: each patient of a hospital is in one, and a run trains one of them.

So that a model can be trained again without somebody who withdrew at the price of one shard
(SISA: Bourtoule et al., "Machine Unlearning", IEEE S&P 2021). A run of a shard is named after it:
its name is a hash over the shard's number, so whoever signed for the run signed for the shard.

Two marks on the ledger, each a hash that follows from names of runs alone: a hospital wants the
shard of a run to be trained again, and a run took another one's place. Nothing of a patient stands
in either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from twinward.canonical import tagged_hash
from twinward.ids import RunId, is_hex32

ENSEMBLE_KIND: Final = "twinward/ensemble/v1"


@dataclass(frozen=True, slots=True)
class Shard:
    """Which shard a run trains, as the order of the run says it.

    Attributes:
        number: From 0.
        seed: 32 random bytes in hex, so that every run of a shard has a name of its own.
    """

    number: int
    seed: str

    @property
    def run(self) -> RunId:
        """What a run of this shard is called."""
        name = tagged_hash("shard-run/v1", bytes.fromhex(self.seed), bytes([self.number]))
        return RunId(name.hex())

    def as_json(self) -> dict[str, Any]:
        """As it stands in an order."""
        return asdict(self)


def of_order(order: Mapping[str, Any]) -> int | None:
    """The number of the shard that this order is for; None if its plan has none."""
    shard = order.get("shard")
    return None if shard is None else int(shard["number"])


def is_named_by(order: Mapping[str, Any], *, shards: int | None) -> bool:
    """Whether an order is for one shard of a plan with so many, and its run named after it.

    A plan without shards wants an order without one.
    """
    said = order.get("shard")
    if shards is None or said is None:
        return shards is None and said is None
    try:
        shard = Shard(**said)
        within = type(shard.number) is int and 0 <= shard.number < shards
        return within and is_hex32(shard.seed) and shard.run == order.get("run")
    except (TypeError, ValueError):
        return False


def part(number: int, *, of: int) -> tuple[float, float]:
    """The places on [0, 1) of the patients in this shard; the shards share it out exactly."""
    return number / of, (number + 1) / of


def wanted(run: bytes) -> bytes:
    """What a hospital marks on the ledger: the shard of this run is to be trained again."""
    return tagged_hash("retraining-wanted/v1", run)


def replaced(run: bytes, *, by: bytes) -> bytes:
    """What the coordinator marks there: ``by`` trained the shard of ``run`` again."""
    return tagged_hash("run-replaced/v1", run, by)


def ensemble(runs: Sequence[bytes]) -> bytes:
    """What the model of these runs together is called, one run for each shard, in order."""
    return tagged_hash("ensemble/v1", *runs)
