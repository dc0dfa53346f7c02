"""Signing at the hospital, for patients whose browser runs no script: grade ``signed-at-hospital``.

The key is made from the letter's code, used, and forgotten. The code itself is kept nowhere (the
vault has a hash of it), so a copy of the hospital's database and of its backups cannot sign. Who
holds the letter can: so can the hospital while the patient is there, which the grade says.

One letter is one patient in one study; so is its key, and no two can be linked.
"""

from __future__ import annotations

from typing import Any

from consent import purposes, signature
from consent.patient_keys import SUBMISSION
from consent.policy import Grade
from consent.record import Domain, Grant, Withdrawal, midnight_before
from consent.study import Study
from twinward import canonical
from twinward.ids import OrgName


def key_of(code: bytes, study: Study) -> bytes:
    """The secp256k1 key of whoever holds this letter."""
    return canonical.tagged_hash("signed-at-hospital/v1", code, study.id32)


def draft(
    study: Study,
    *,
    hospital: OrgName,
    names: tuple[str, ...],
    until: float,
    terms_shown: bytes,
    subject: bytes,
    nonce: int,
    at: float,
) -> Grant:
    """The grant that a patient's choice makes; times are Unix seconds, the end rounded down."""
    return Grant(
        network=bytes.fromhex(study.network),
        study=study.id32,
        subject=subject,
        purposes=purposes.bits(names),
        purpose_table=purposes.table_digest(),
        scope=study.scope(hospital),
        terms_shown=terms_shown,
        not_before=midnight_before(at),
        expiry=midnight_before(until),
        nonce=nonce,
        submit_by=int(at + SUBMISSION),
    )


def grant_request(grant: Grant, *, code: bytes, key: bytes, domain: Domain) -> dict[str, Any]:
    """What goes to the desk: signed here, and marked as that."""
    return {
        "code": code.hex(),
        "grant": grant.to_json(),
        "signature": grant.sign(key, domain).hex(),
        "grade": Grade.HOSPITAL.value,
    }


def withdrawal_request(
    known: dict[str, Any] | None, study: Study, *, code: bytes, domain: Domain, at: float
) -> dict[str, Any]:
    """What goes to the desk: signed if the letter's key gave the yes, else by the letter's code.

    A signed one leaves the key fit for another yes; one by the code retires whatever key there is.
    """
    key = key_of(code, study)
    subject = signature.address_of(key)
    if known is None or known["subject"] != subject.hex():
        return {"code": code.hex(), "study": study.id32.hex()}
    withdrawal = Withdrawal(
        network=bytes.fromhex(study.network),
        study=study.id32,
        subject=subject,
        nonce=max(known["nonce"] + 1, known["next_nonce"]),
        signed_at=int(at),
    )
    return {
        "withdrawal": withdrawal.to_json(),
        "signature": withdrawal.sign(key, domain).hex(),
    }
