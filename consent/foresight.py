"""What a yes would do, told before anybody signs it: the policy itself, asked about a draft."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consent import purposes
from consent.policy import Moment, Permission, Request, Rule, decide
from consent.record import Domain, Grant
from consent.requests import hex_bytes, not_a_request
from consent.standing import Mandate, Standing
from consent.study import Study
from twinward.ids import OrgName


@dataclass(frozen=True, slots=True)
class _OnLedger:
    """The ledger's slot as the draft would make it."""

    purposes: int
    expiry: int
    nonce: int
    digest: bytes


def foresee(
    draft: Mapping[str, Any],
    study: Study,
    request: Request,
    *,
    hospital: OrgName,
    domain: Domain,
    at: Moment,
    standing: Standing,
    mandate: Mandate | None,
) -> Rule:
    """The rule that would decide once the draft is signed and on the ledger. Keeps nothing.

    Args:
        draft: ``purposes`` (hex of the mask), ``without`` (categories that it leaves out),
            ``not_before``, ``expiry`` (Unix seconds), ``grade``.
        study: What it is about.
        request: What the study asks.
        hospital: Where.
        domain: The ledger of this network.
        at: Now.
        standing: What is known of the patient.
        mandate: Under which somebody else would sign.

    Raises:
        UsageError: TW3019, TW3003, not a draft; TW3042, it leaves out what it cannot.
    """
    try:
        expiry, begins, grade = int(draft["expiry"]), int(draft["not_before"]), str(draft["grade"])
        mask = int.from_bytes(hex_bytes(draft["purposes"]))
        without = [str(name) for name in draft["without"]]
    except (KeyError, TypeError, ValueError) as error:
        raise not_a_request(
            "a draft has purposes, without, not_before, expiry and grade"
        ) from error
    grant = Grant(
        network=domain.genesis,
        study=request.study,
        subject=bytes(20),
        purposes=mask,
        purpose_table=purposes.table_digest(),
        scope=study.scope(hospital, without=without),
        terms_shown=bytes(32),
        not_before=begins,
        expiry=expiry,
        nonce=0,
        submit_by=expiry,
    )
    digest = grant.digest(domain)
    permission = Permission(
        grant=grant,
        digest=digest,
        verified=True,
        grade=grade,
        slot=_OnLedger(mask, expiry, 1, digest),
        withdrawn_through=None,
        received_at=int(at.latest) + 1,  # newer than any objection of today: it would lift it
        mandate=mandate,
    )
    return decide(permission, request, at=at, standing=standing).rule
