"""What a patient's choice makes, before anybody signs it: a grant or a withdrawal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consent import purposes
from consent.patient_keys import SUBMISSION
from consent.record import Grant, Withdrawal, midnight_before
from consent.study import Study
from twinward.ids import OrgName


def grant(
    study: Study,
    *,
    hospital: OrgName,
    names: tuple[str, ...],
    without: tuple[str, ...],
    until: float,
    terms_shown: bytes,
    subject: bytes,
    nonce: int,
    at: float,
) -> Grant:
    """The grant of a choice; times are Unix seconds, the end rounded down."""
    return Grant(
        network=bytes.fromhex(study.network),
        study=study.id32,
        subject=subject,
        purposes=purposes.bits(names),
        purpose_table=purposes.table_digest(),
        scope=study.scope(hospital, without=without),
        terms_shown=terms_shown,
        not_before=midnight_before(at),
        expiry=midnight_before(until),
        nonce=nonce,
        submit_by=int(at + SUBMISSION),
    )


def withdrawal(study: Study, *, known: Mapping[str, Any], at: float) -> Withdrawal:
    """The end of the yes that is on record as ``known``, and of all before it."""
    return Withdrawal(
        network=bytes.fromhex(study.network),
        study=study.id32,
        subject=bytes.fromhex(known["subject"]),
        nonce=max(known["nonce"] + 1, known["next_nonce"]),
        signed_at=int(at),
    )
