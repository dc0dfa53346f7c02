"""The model card: what a released model is for, and what it says about the patients behind it.

One JSON record for machines and one Markdown page for people, both made from the same values. The
numbers of the privacy statement come from ``ledger.verify.privacy_statement``, so whoever verifies
the evidence pack recomputes exactly what is printed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twinward.plan import mode_of
from twinward.statement import PrivacyStatement

SCHEMA = "twinward/card/v1"


@dataclass(frozen=True, slots=True)
class CardTexts:
    """What the coordinator says in words.

    Args:
        title: What a reader calls the model.
        kind: ``risk`` or another kind from ``models.registry``.
        intended_use: For whom and for what.
        limits: What it must not be used for, and why.
        hyper_parameters: Where learning rate, clipping norm and step count come from.
        other_releases: Every other release about the same patients, in words; empty if none.
    """

    title: str
    kind: str
    intended_use: str
    limits: tuple[str, ...]
    hyper_parameters: str
    other_releases: tuple[str, ...] = ()


def card(
    *,
    texts: CardTexts,
    plan: Mapping[str, Any],
    plan_digest: bytes,
    run: bytes,
    weights_digest: bytes,
    names: tuple[str, ...],
    privacy: Mapping[str, Any],
    absent: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """The card as a JSON value; ``plan`` is the plan's payload.

    ``absent`` are the hospitals of the plan that were missing when the run ended, and why.
    """
    return {
        "schema": SCHEMA,
        "title": texts.title,
        "kind": texts.kind,
        "study": plan["study"],
        "model": plan["model"],
        "run": run.hex(),
        "plan": plan_digest.hex(),
        "weights": weights_digest.hex(),
        "inputs": list(names),
        "hospitals": list(plan["sites"]),
        "absent": [dict(one) for one in absent],
        "intended_use": texts.intended_use,
        "limits": list(texts.limits),
        "mode": plan["aggregate"],
        "privacy": dict(privacy),
        "privacy_for_people": list(PrivacyStatement(plan, privacy).words()),
        "privacy_in_words": _in_words(texts, plan),
    }


_EXACT = (
    "Gaussian differential privacy, mu^2 added over attempts (exact, also when each is "
    "chosen in view of the last); epsilon by the closed form, and again by the verifier's "
    "own code."
)
_SAMPLED = (
    "Privacy loss of Poisson-sampled Gaussian releases, composed numerically with an upper bound "
    "at every step, by two programs of which the larger counts; every hospital computes it before "
    "it takes part. The lifetime is charged at the smallest mu that covers the whole run at every "
    "delta from 1e-12 up; the run adds at most 1e-12 to delta. Part of a run is charged whole."
)


_DRAW = {
    "secure_sum": "attempt.",
    "fedavg": "local step. All of it is each hospital's own: the secure sum reduces none of it.",
    "visible": "local step. All of it is each hospital's own.",
}
_SEEN = {
    "secure_sum": (
        "Sums only (`secure_sum`): vectors are masked, and the masks cancel only over all members "
        "of an epoch."
    ),
    "fedavg": (
        "Sums of updates only (`fedavg` through secure sum): each hospital's update is masked, and "
        "the masks cancel only over all members of an epoch. This hides who changed what; the "
        "noise that protects patients is in each update already."
    ),
    "visible": (
        "Each hospital's update (`visible_updates`), as does whoever holds the evidence pack. The "
        "noise that protects patients is in each update already."
    ),
}


def _in_words(texts: CardTexts, plan: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "unit": (
            "One patient at one hospital: all records of that patient there, in this run. For a "
            "patient of m hospitals of the study mu is m times as large, as the table says."
        ),
        "adjacency": (
            "Zero-out: the released model is almost as likely whether the patient's records were "
            "used or were replaced by an empty record."
        ),
        "not_hidden": [
            "how many consents and withdrawals there are and when, to readers of the ledger",
            "which hospitals took part in which step",
            f"when vectors arrived, up to the sending slot of {plan['slot_seconds']} s",
        ],
        "accountant": _SAMPLED if plan["sampling"] else _EXACT,
        "noise": (
            "Gaussian, added at each hospital before the one rounding to the grid, from AES-256 in "
            f"counter mode keyed by the operating system for every {_DRAW[mode_of(plan)]} "
            "Rounding adds less than 2^-1000 to delta; the generator is assumed to be as good as "
            "random."
        ),
        "attempts": (
            "Every attempt in which a vector may have left a hospital is charged like a step, "
            "whether or not a sum came of it. What a lost hospital reserved counts as spent."
        ),
        "what_the_coordinator_sees": _SEEN[mode_of(plan)],
        "hyper_parameters": texts.hyper_parameters,
        "other_releases": list(texts.other_releases),
        "not_covered": [
            _poisoning(plan),
            "the patient's own hospital, which is trusted entirely with its records",
            "faults in this software or in the machine that runs it",
        ],
    }


def _poisoning(plan: Mapping[str, Any]) -> str:
    if mode_of(plan) != "visible":
        return "a hospital that poisons its update: sums hide who did it"
    local = plan["fedavg"]
    return (
        f"more than {local['hostile']} hospitals that poison their updates: the rule is "
        f"`{local['rule']}` over updates cut to length {local['max_update_norm']:g}"
    )


_ADVERSARIES = {
    "public": "the public and auditors",
    "one_other_hospital": "one other hospital",
    "coordinator_with_colluders": "the coordinator together with the assumed colluders",
}


_KINDS = {
    "risk": "risk: a statement about groups, no twin",
    "prior": "prior: where twins start; a starting point, learnt once from many, and no twin",
}


def markdown(card: Mapping[str, Any]) -> str:
    """The card for people."""
    privacy, words = card["privacy"], card["privacy_in_words"]
    charged = ", ".join(f"{org} {n}" for org, n in sorted(privacy["attempts_charged"].items()))
    elsewhere = "; ".join(words["other_releases"]) or "none by this network"
    lines = [
        f"# {card['title']}",
        "",
        f"Model `{card['model']}` ({_KINDS[card['kind']]}), study `{card['study']}`.",
        f"Hospitals: {', '.join(card['hospitals'])}.{_missing(card['absent'])}",
        "",
        "## Intended use",
        "",
        card["intended_use"],
        "",
        "## Limits",
        "",
        *_bullets(card["limits"]),
        "",
        *_numbers(card),
        "## What this says about a patient",
        "",
        *_paragraphs(card["privacy_for_people"]),
        "![The same as a picture](privacy.svg)",
        "",
        "## Privacy",
        "",
        f"**epsilon {privacy['epsilon']:g} at delta {privacy['delta']:g}** for {privacy['unit']}.",
        "",
        f"- Unit: {words['unit']}",
        f"- Adjacency: {words['adjacency']}",
        "",
        "| against | mu | epsilon |",
        "|---|---|---|",
        *(
            f"| {text} | {privacy['adversaries'][key]['mu']:.4f} "
            f"| {privacy['adversaries'][key]['epsilon']:.3f} |"
            for key, text in _ADVERSARIES.items()
        ),
        "",
        "| hospitals of the study that hold the patient | mu | epsilon |",
        "|---|---|---|",
        *(
            f"| {m} | {value['mu']:.4f} | {value['epsilon']:.3f} |"
            for m, value in sorted(privacy["patient_at_hospitals"].items())
        ),
        "",
        f"- mu: {privacy['mu']:.6f}",
        f"- Noise multiplier: {privacy['noise_multiplier']:.3f}",
        f"- Sample rate: {privacy['sample_rate']:g} of the patients in each attempt",
        f"- Clipping norm: {privacy['max_grad_norm']:g}",
        f"- Grid: {privacy['grid']:.6g}, in words of {privacy['word_bits']} bits",
        f"- Steps: {privacy['steps']}, spare attempts: {privacy['spare_attempts']}; all reserved",
        f"- Noised sums over patients per attempt: {privacy['releases_per_attempt']}",
        f"- Attempts charged: {charged}. {words['attempts']}",
        f"- Fewest members in an epoch: {privacy['fewest_members']}",
        f"- Fewest honest shares of noise: {privacy['fewest_honest_shares']}",
        f"- Accountant: {words['accountant']}",
        f"- Noise: {words['noise']}",
        f"- Seen by the coordinator: {words['what_the_coordinator_sees']}",
        f"- Hyper-parameters: {words['hyper_parameters']}",
        f"- Other releases about the same patients: {elsewhere}",
        "",
        "Not hidden:",
        "",
        *_bullets(words["not_hidden"]),
        "",
        "Not covered:",
        "",
        *_bullets(words["not_covered"]),
        "",
        "## Origin",
        "",
        f"- run `{card['run']}`",
        f"- plan `{card['plan']}`",
        f"- weights `{card['weights']}`",
        "",
    ]
    return "\n".join(lines)


def _missing(absent: Sequence[Mapping[str, str]]) -> str:
    """Who of them was not there at the end, in the coordinator's or the hospital's own words."""
    if not absent:
        return ""
    named = "; ".join(f"{one['org']} ({one['words']})" for one in absent)
    return f" Missing at the end: {named}."


def _numbers(card: Mapping[str, Any]) -> list[str]:
    """What each number of a prior is; the weights of a model of risk mean nothing one by one."""
    if card["kind"] != "prior":
        return []
    names = card["inputs"]
    return ["## Numbers", "", f"{len(names)} in this order: {', '.join(names)}.", ""]


def _paragraphs(texts: list[str]) -> list[str]:
    return [line for text in texts for line in (text, "")]


def _bullets(items: list[str]) -> list[str]:
    return [f"- {item}" for item in items]
