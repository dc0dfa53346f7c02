"""The patients' accounts for staff: what a plan would cost, one patient's line, a lower limit.

None of it leaves the hospital: it goes over the node's local socket to this machine's staff. While
the daemon is up it alone holds the accounts; before its first start a price is read from the files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hospital_node import holdout, parts, watch
from hospital_node.data import records as data
from hospital_node.paths import NodePaths
from hospital_node.privacy import tombstones
from hospital_node.privacy.lifetime import LIFETIME_DELTA, Lifetime
from hospital_node.privacy.price import OF_A_SHARD, RETRAINING, Price, price
from hospital_node.settings import FILE, NodeSettings
from twinward import gdp
from twinward.errors import ConsentError, UsageError
from twinward.ids import RecordNumber
from twinward.organisation import Organisation
from twinward.plan import KIND as PLAN_KIND
from twinward.plan import Plan
from twinward.rpc.messages_pb2 import Blob
from twinward.settings import load
from twinward.signing import Document, Identity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hospital_node.node import Node

_NOT_RUNNING = "TW1040"
COPY = {"copy": True}
"""What a backup asks instead of a patient's line."""


def open_(
    folder: Path, settings: NodeSettings, identity: Identity, records: Sequence[RecordNumber]
) -> Lifetime:
    """The accounts of this node's patients; one process at a time.

    Raises:
        BudgetError: TW4106, another process has them; TW4311, they are of other keys.
    """
    return Lifetime(
        NodePaths(folder).accounts,
        key=identity.derive(tombstones.PURPOSE),
        records=records,
        limit_mu2=gdp.mu_of(settings.lifetime_epsilon, LIFETIME_DELTA) ** 2,
    )


def price_of(folder: Path, plan_file: bytes) -> dict[str, Any]:
    """What a run of this plan would cost this hospital's patients; charges nothing.

    Raises:
        UsageError: TW1050 no node here, TW1041 its daemon does not answer; and what reading a plan
            raises.
        DataError: The file of patients cannot be read.
        BudgetError: The accounts cannot be used.
    """
    try:
        return watch.ask(folder, lambda node: node.Price(Blob(data=plan_file), timeout=30))
    except UsageError as error:
        if error.code != _NOT_RUNNING:
            raise
    settings, identity = load(NodeSettings, folder / FILE), Organisation(folder).identity()
    records = data.read(settings.data, hospital=settings.org).records
    places = holdout.places(identity.derive(holdout.PURPOSE), records)
    lifetime = open_(folder, settings, identity, records)
    try:
        return _price(plan_file, lifetime, places)
    finally:
        lifetime.close()


def price_here(node: Node, plan_file: bytes) -> dict[str, Any]:
    """The same; called in the daemon."""
    return _price(plan_file, node.lifetime, node.places)


def _price(plan_file: bytes, lifetime: Lifetime, places: NDArray[Any]) -> dict[str, Any]:
    plan = Plan.from_document(Document.decode(plan_file, kind=PLAN_KIND, at="plan file"))
    share = plan.holdout_share

    def ask(numbers: Plan, part: tuple[float, float]) -> Price:
        return price(numbers, lifetime, wanted=holdout.within(places, part))

    training = ask(plan, holdout.trained(share))
    if plan.evaluation is None:
        again = RETRAINING if plan.shards is None else OF_A_SHARD
        return {
            "text": training.text(again=again),
            "training": asdict(training),
            "evaluation": None,
        }
    measured = ask(plan.for_evaluation(), holdout.held_out(share))
    return {
        "text": f"{training.text()}\n{measured.text(of='Measuring its model', again='')}",
        "training": asdict(training),
        "evaluation": asdict(measured),
    }


def account(folder: Path, record: str, **change: float | None) -> dict[str, Any]:
    """One patient's account, after the change ``epsilon``, if there is one.

    Args:
        folder: The node's folder; its daemon must be running.
        record: The patient's record number.
        **change: ``epsilon``, the limit for life that the patient chose, at delta 1e-5; None takes
            it back. It can only narrow the hospital's.

    Raises:
        UsageError: TW1050 no node here, TW1040 it is not running, TW1041 it did not answer.
        ConsentError: TW3041, not a patient of this node.
    """
    question = json.dumps({"record": record, **change}).encode()
    return watch.ask(folder, lambda node: node.Account(Blob(data=question), timeout=30))


def copied(folder: Path) -> Path | None:
    """The accounts as of now, copied by the daemon that holds them; None if none is running.

    The caller deletes the copy.

    Raises:
        UsageError: TW1050 no node here, TW1041 its daemon does not answer.
    """
    question = json.dumps(COPY).encode()
    try:
        watch.ask(folder, lambda node: node.Account(Blob(data=question), timeout=60))
    except UsageError as error:
        if error.code != _NOT_RUNNING:
            raise
        return None
    return copy_path(folder)


def copy_path(folder: Path) -> Path:
    """Where the daemon puts the copy; in the private folder that the accounts are in."""
    return NodePaths(folder).state / "accounts.copy.tmp"


def row_of(node: Node, record: str) -> int:
    """Where a patient stands in the table.

    Raises:
        ConsentError: TW3041, nowhere.
    """
    try:
        return node.rows[RecordNumber(record)]
    except KeyError as error:
        raise ConsentError(
            "this record number is not in the patient table",
            code="TW3041",
            help="check the number; import the patient's record first",
        ) from error


def serve(node: Node, question: bytes) -> dict[str, Any]:
    """Answer ``account``; called in the daemon."""
    asked = json.loads(question)
    if asked == COPY:
        copy = copy_path(node.folder)
        copy.unlink(missing_ok=True)
        node.lifetime.copy_to(copy)
        return {}
    if "parts" in asked:
        found = parts.of(node.lifetime, node.identity, RecordNumber(asked["parts"]))
        return {"parts": [asdict(one) for one in found]}
    if "epsilon" in asked:
        epsilon = asked["epsilon"]
        mu2 = gdp.mu_of(epsilon, LIFETIME_DELTA) ** 2 if epsilon else epsilon
        node.lifetime.set_limit(row_of(node, asked["record"]), mu2)
    return standing_of(node, asked["record"])


def standing_of(node: Node, record: str) -> dict[str, Any]:
    """What a patient has spent and may spend here, as epsilon.

    Raises:
        ConsentError: TW3041, not a patient of this node.
    """
    standing = node.lifetime.standing(row_of(node, record))
    return {
        "epsilon_spent": _epsilon(standing.spent_mu2),
        "epsilon_limit": _epsilon(standing.limit_mu2),
        "delta": LIFETIME_DELTA,
        "nearly_spent": standing.is_nearly_spent,
    }


def _epsilon(mu2: float) -> float:
    return round(gdp.epsilon_of(math.sqrt(mu2), LIFETIME_DELTA), 4)
