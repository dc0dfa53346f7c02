"""Signing on the patient's own device: what the page is given, and what comes back from it.

The script (``static/device_keys.js``) makes a fresh key for the letter, or opens the one that was
sealed before, and signs. The desk checks the signature as it does for any other device.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consent import signature
from consent.portal import at_hospital, drafts
from consent.portal.sealed_keys import not_of_the_page, secret_of
from consent.portal.site import Asked
from consent.record import Domain, Grant, Withdrawal
from twinward.ids import OrgName


@dataclass(frozen=True, slots=True)
class Key:
    """Which key a letter can sign with on a device.

    Attributes:
        subject: The key's address in hex; empty for one that is still to be made.
        sealed: That key, if it was sealed here.
    """

    subject: str
    sealed: dict[str, Any] | None


def key_for(one: Asked, held: Mapping[str, dict[str, Any]]) -> Key | None:
    """The key of this letter; None if the hospital made the letter's key."""
    grant = one.known["grant"]
    if grant is None:
        return Key("", None)
    if grant["subject"] == signature.address_of(at_hospital.key_of(one.code, one.study)).hex():
        return None
    sealed = held.get(grant["subject"])
    return Key("", None) if sealed is None else Key(grant["subject"], sealed)


def asked_to_grant(
    one: Asked,
    key: Key,
    *,
    hospital: OrgName,
    domain: Domain,
    names: tuple[str, ...],
    without: tuple[str, ...],
    until: float,
    at: float,
) -> dict[str, Any]:
    """What the script needs to sign a yes, as JSON values; the passphrase is typed."""
    known = one.known["grant"]
    grant = drafts.grant(
        one.study,
        hospital=hospital,
        names=names,
        without=without,
        until=until,
        terms_shown=one.terms,
        subject=bytes(20),
        nonce=known["next_nonce"] if key.sealed else 0,
        at=at,
    )
    terms = {"language": one.language, "version": one.version}
    return _asked("Grant", grant, one, key, domain) | {"terms": terms}


def asked_to_withdraw(one: Asked, key: Key, *, domain: Domain, at: float) -> dict[str, Any]:
    """What the script needs to sign a stop with the key that gave the yes, as JSON values."""
    withdrawal = drafts.withdrawal(one.study, known=one.known["grant"], at=at)
    return _asked("Withdrawal", withdrawal, one, key, domain)


def handed_in(form: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """The signed value and the signature in hex that the script sent.

    Raises:
        UsageError: TW8072, not what the script sends.
    """
    try:
        value, signed = json.loads(form["value"]), form["signature"]
    except (KeyError, ValueError) as error:
        raise not_of_the_page() from error
    if not isinstance(value, dict):
        raise not_of_the_page()
    return value, signed


def _asked(
    name: str, value: Grant | Withdrawal, one: Asked, key: Key, domain: Domain
) -> dict[str, Any]:
    return {
        "type": name,
        "value": value.to_json(),
        "domain": domain.to_json(),
        "sealed": key.sealed,
        "secret": secret_of(one.code, one.study).hex(),
    }
