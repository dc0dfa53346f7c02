"""The card of an ensemble: what the mean of the shards' models is for, and says of patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models import registry
from server.shards import Shard, ShardModel
from server.studies import SignedStudy
from twinward import descent


def card(
    study: SignedStudy,
    parts: Sequence[Shard],
    members: Sequence[ShardModel],
    *,
    name: str,
    weights: descent.Weights,
) -> dict[str, Any]:
    """The card as a JSON value; ``members`` are the models that go in, one for each shard."""
    plan, model = study.plan, registry.get(study.plan.model)
    return {
        "schema": "twinward/ensemble-card/v1",
        "title": model.title,
        "study": plan.study,
        "model": plan.model,
        "name": name,
        "plan": plan.digest.hex(),
        "weights": descent.digest(weights).hex(),
        "inputs": list(model.names(plan.sites)),
        "hospitals": list(plan.sites),
        "intended_use": model.intended_use,
        "limits": list(model.limits),
        "shards": [
            {"shard": part.number, "run": one.run, "nth": one.nth}
            for part, one in zip(parts, members, strict=True)
        ],
        "epsilon": plan.epsilon,
        "delta": plan.delta,
        "privacy_in_words": [
            (
                "Each patient of a hospital is in one shard. The mean of the shards' models says "
                f"no more about a patient than the model of that shard: epsilon {plan.epsilon:g} "
                f"at delta {plan.delta:g} for one run, as its own card says it."
            ),
            (
                "Whose shard was trained again stays charged for every run of it, and models that "
                "were retired are still out there: the table says how many runs a shard has had."
            ),
            (
                "A patient of two hospitals of the study can be in two shards, with twice the mu, "
                "as in a run that trains everybody."
            ),
        ],
    }


def markdown(card: Mapping[str, Any]) -> str:
    """The same for people."""
    lines = [
        f"# {card['title']}",
        "",
        (
            f"Model `{card['model']}` (risk: a statement about groups, no twin), study "
            f"`{card['study']}`: the mean of the models of {len(card['shards'])} shards."
        ),
        f"Hospitals: {', '.join(card['hospitals'])}.",
        "",
        "## Intended use",
        "",
        card["intended_use"],
        "",
        "## Limits",
        "",
        *(f"- {one}" for one in card["limits"]),
        "",
        "## Privacy",
        "",
        *(f"- {one}" for one in card["privacy_in_words"]),
        "",
        "| shard | run | its runs so far |",
        "|---|---|---|",
        *(f"| {one['shard']} | `{one['run']}` | {one['nth']} |" for one in card["shards"]),
        "",
        "## Origin",
        "",
        f"- ensemble `{card['name']}`",
        f"- plan `{card['plan']}`",
        f"- weights `{card['weights']}`",
        "",
    ]
    return "\n".join(lines)
