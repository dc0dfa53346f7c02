"""Signing at the hospital, for patients whose browser runs no script: grade ``signed-at-hospital``.

The key is made from the letter's code, used, and forgotten. The code itself is kept nowhere (the
vault has a hash of it), so a copy of the hospital's database and of its backups cannot sign. Who
holds the letter can: so can the hospital while the patient is there, which the grade says.

One letter is one patient in one study; so is its key, and no two can be linked.
"""

from __future__ import annotations

from typing import Any

from consent import signature
from consent.policy import Grade
from consent.portal import drafts
from consent.record import Domain, Grant
from consent.study import Study
from twinward import canonical


def key_of(code: bytes, study: Study) -> bytes:
    """The secp256k1 key of whoever holds this letter."""
    return canonical.tagged_hash("signed-at-hospital/v1", code, study.id32)


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
    withdrawal = drafts.withdrawal(study, known=known, at=at)
    return {
        "withdrawal": withdrawal.to_json(),
        "signature": withdrawal.sign(key, domain).hex(),
    }
