"""The considerations of NIST SP 800-226 for one study: every level of its pyramid, answered.

"Guidelines for Evaluating Differential Privacy Guarantees" (Near, Darais, Lefkovitz, Howarth, NIST
2025) asks what epsilon means, for which unit, by which algorithm, implemented how, under which
trust, and what stands below all of it. Answers that are numbers are this study's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinward.plan import mode_of

SOURCE = "NIST SP 800-226, March 2025"


def considerations(
    plan: Mapping[str, Any],
    privacy: Mapping[str, Any],
    *,
    lifetime_mu2: float | None,
    held_out: Mapping[str, float] | None,
) -> dict[str, Any]:
    """Plain JSON values; ``plan`` is the plan's payload, ``privacy`` the card's numbers."""
    return {
        "source": SOURCE,
        "guarantee": _guarantee(privacy, lifetime_mu2, held_out),
        "algorithm": _algorithm(plan, privacy),
        "utility_and_bias": {
            "utility": "reported on the model card with its interval where evaluated; "
            + _UTILITY[mode_of(plan)],
            "bias": "noise costs small groups most: figures are shown per hospital, and not at all "
            "for classes too small to show",
            "post_processing": "clipping of sums and averaging of iterates are public functions of "
            "what was released",
        },
        "implementation": {
            "floating_point": "noise in float64 before the one rounding to an integer grid of "
            f"{privacy['grid']:g}; what its arithmetic can add to epsilon is bounded and paid for "
            f"by wider noise; rounding adds below 2^{privacy['rounding_delta_log2']} to delta",
            "randomness": "AES-256 in counter mode, keyed by the operating system for every draw",
            "timing": f"vectors leave at fixed slots of {plan['slot_seconds']:g} s, not when ready",
            "budget": "written to disk before a vector may leave; a crash gives nothing back",
            "testing": "`twinward privacy audit PLAN` attacks the code with canaries, tests of the "
            "noise and a count of the budget; it needs no record, so anyone can repeat it",
        },
        "trust": {
            "model": _TRUST[mode_of(plan)],
            "coordinator": _COORDINATOR[mode_of(plan)],
            "adversaries": {
                who: {"mu": entry["mu"], "epsilon": entry["epsilon"]}
                for who, entry in privacy["adversaries"].items()
            },
            "honest_shares_needed": privacy["fewest_honest_shares"],
            "query_model": "interactive: the coordinator sees each sum before the next step; "
            "composition is adaptive",
        },
        "access_and_security": "records stay inside the hospital's own systems; mutual TLS, signed "
        "messages and an allow-list of what may leave",
        "data_collection_exposure": "the network collects no records: it uses what a hospital "
        "holds, of patients who consent; consents are on a ledger without anything personal",
        "hazards_not_covered": [
            "what the study shows about groups of people, members or not",
            "the number and time of consents and withdrawals",
            "releases by others about the same patients",
            "a hospital that poisons its update",
        ],
    }


_UTILITY = {
    "secure_sum": "noise on the sum does not grow with the number of hospitals",
    "fedavg": "every hospital adds all of the noise itself, so more hospitals do not mean less "
    "noise for the patients of each",
}
_UTILITY["visible"] = _UTILITY["fedavg"]
_TRUST = {
    "secure_sum": "distributed: each hospital is trusted with its own records and adds a share of "
    "the noise; secure aggregation hides each vector",
    "fedavg": "local: each hospital is trusted with its own records and adds all of the noise; "
    "secure aggregation hides each update and does not reduce the noise",
    "visible": "local: each hospital is trusted with its own records and adds all of the noise; "
    "its update is seen by the coordinator and by readers of the evidence",
}
_COORDINATOR = {
    "secure_sum": "not trusted with records or with any hospital's vector; it could refuse to work",
    "fedavg": "not trusted with records or with any hospital's update; it could refuse to work",
    "visible": "not trusted with records; sees each hospital's noised update; it could refuse to "
    "work",
}
_KIND = {
    "secure_sum": "machine learning: descent on clipped patient gradients",
    "fedavg": "machine learning: descent on clipped patient gradients in each hospital, updates "
    "averaged (federated averaging)",
}


def _guarantee(
    privacy: Mapping[str, Any], lifetime_mu2: float | None, held_out: Mapping[str, float] | None
) -> dict[str, Any]:
    return {
        "definition": "Gaussian differential privacy, shown as (epsilon, delta)",
        "epsilon": privacy["epsilon"],
        "delta": privacy["delta"],
        "mu": privacy["mu"],
        "unit_of_privacy": f"{privacy['unit']}: all records of that patient there, in this run",
        "neighbours": f"{privacy['adjacency']} (bounded number of units: membership by consent is "
        "public as a count)",
        "patient_at_two_hospitals": dict(privacy["patient_at_hospitals"]["2"]),
        "patient_held_out_for_evaluation": None if held_out is None else dict(held_out),
        "composition": "mu^2 adds up over attempts, runs and studies, fully adaptively; every "
        "attempt that may have left is charged",
        "lifetime_limit_mu2": lifetime_mu2,
    }


def _algorithm(plan: Mapping[str, Any], privacy: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": _KIND[plan["aggregate"]],
        "mechanism": "Gaussian",
        "sensitivity": f"{privacy['max_grad_norm']:g} (L2), by clipping the gradient of the "
        "patient's mean loss once",
        "noise_multiplier": privacy["noise_multiplier"],
        "steps": privacy["steps"],
        "releases_per_attempt": privacy["releases_per_attempt"],
        "spare_attempts": privacy["spare_attempts"],
        "data": f"records of {len(plan['sites'])} hospitals; inputs scaled by public constants of "
        "the plan",
        "hyper_parameters": "public constants of the plan; the model card tells their origin",
    }
