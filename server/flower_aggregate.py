"""Robust means of visible updates, by Flower's own strategies. Imports Flower.

What a run needs of a sum it gets from here in its place: the robust mean times the number of
updates, on the same integer grid. Every update is cut to the plan's bound first, so that nobody
counts for more than one. Integers make each rule exact, so the offline verifier computes it again
with whole numbers (``ledger.verify.robust_sum``) and comes to the same bits.

Sources: Yin et al., ICML 2018 (trimmed mean, median); Blanchard et al., NeurIPS 2017 (Krum).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import numpy as np
from flwr.app import ArrayRecord, Message, Metadata, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg as Mean
from flwr.serverapp.strategy import FedMedian, FedTrimmedAvg, Krum, Strategy
from numpy.typing import NDArray

from twinward.errors import TrainingError
from twinward.plan import GRID_STEPS_PER_NORM, FedAvg
from twinward.plan_form import Rule
from twinward.secsum.words import Integers

_STRATEGIES: dict[Rule, Callable[[int, int], Strategy]] = {
    "norm_bound": lambda _members, _hostile: Mean(),
    "median": lambda _members, _hostile: FedMedian(),
    # Flower drops int(beta * members) at each end; the quarter keeps that from rounding down.
    "trimmed_mean": lambda members, hostile: FedTrimmedAvg(beta=(hostile + 0.25) / members),
    "krum": lambda _members, hostile: Krum(num_malicious_nodes=hostile),
}


def robust_sum(updates: Sequence[Integers], *, local: FedAvg) -> NDArray[np.int64]:
    """The robust mean of these updates times their number, in grid steps.

    Args:
        updates: One vector of grid steps per member; nothing is believed of them.
        local: The plan's rule, and how many members it must withstand.

    Raises:
        TrainingError: TW6501, too few members came for the plan's rule.
    """
    members = len(updates)
    if members < local.fewest_members:
        raise TrainingError(
            f"{members} hospitals are too few for the rule `{local.rule}`",
            code="TW6501",
            note=f"against {local.hostile} hostile it needs {local.fewest_members}",
            help="start a new run when more hospitals are connected",
        )
    logging.getLogger("flwr").setLevel(logging.WARNING)  # a line for every step otherwise
    strategy = _STRATEGIES[local.rule](members, local.hostile)
    arrays, _ = strategy.aggregate_train(1, [_reply(cut(update)) for update in updates])
    assert arrays is not None  # noqa: S101 - there are replies
    (mean,) = arrays.to_numpy_ndarrays()
    words: NDArray[np.int64] = np.rint(members * mean).astype(np.int64)
    return words


def cut(update: Integers) -> NDArray[np.float64]:
    """The update within the plan's bound; an honest one, cut before it was rounded, is unchanged.

    Lengths are exact whole numbers, so every machine cuts the same.
    """
    inside = np.clip(update, -GRID_STEPS_PER_NORM, GRID_STEPS_PER_NORM).astype(np.int64)
    square, most = int(inside @ inside), GRID_STEPS_PER_NORM + math.isqrt(inside.size) + 1
    if square <= most**2:
        return inside.astype(np.float64)
    shortened: NDArray[np.float64] = np.rint(inside * (GRID_STEPS_PER_NORM / math.sqrt(square)))
    return shortened


def _reply(update: NDArray[np.float64]) -> Message:
    # Equal weights: how many patients a hospital has is nobody's business.
    metrics = MetricRecord({"num-examples": 1})
    content = RecordDict({"arrays": ArrayRecord([update]), "metrics": metrics})
    # It came by our own streams; to Flower it is a message of no one to no one.
    metadata = Metadata(
        run_id=0, message_id="", src_node_id=0, dst_node_id=0, reply_to_message_id="", group_id="",
        created_at=0.0, ttl=1.0, message_type="train",
    )  # fmt: skip
    return Message(content=content, metadata=metadata)
