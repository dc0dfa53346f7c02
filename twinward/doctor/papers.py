"""Keys and certificates as they lie in a role's folder: whole, private, fitting, lasting."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from twinward.doctor.findings import Concern
from twinward.errors import IdentityError
from twinward.files import read_secret
from twinward.rpc.tls import TlsFiles

SOON = timedelta(days=14)


def secrets(keys: Sequence[Path], *, private: Sequence[Path]) -> str:
    """All keys are there, and only their owner can read them.

    Args:
        keys: Files, each of which has to be there.
        private: Folders that nobody else may enter; one that is not there yet is passed over.

    Raises:
        UsageError: TW1014, a key is missing.
        IdentityError: TW2005, TW7340, somebody else can read it.
    """
    for path in keys:
        read_secret(path)
    for place in private:
        if place.exists() and place.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise IdentityError(
                "other users of this machine can enter a private folder",
                code="TW7340",
                at=str(place),
                help=f"run `chmod 700 {place}`, and find out who could have read it",
            )
    return f"{len(keys)} keys, readable by their owner only"


def certificate(files: TlsFiles, *, now: float, renew: str, by_itself: str) -> str:
    """Key, certificate and authority fit together, and the certificate lasts.

    Args:
        files: Of the role.
        now: Unix seconds.
        renew: What renews it, as the beginning of a sentence.
        by_itself: When that happens without anybody.

    Raises:
        IdentityError: TW7341 to TW7345. Concern: TW7346.
    """
    try:
        leaf = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        trusted = x509.load_pem_x509_certificates(files.ca.read_bytes())
        key = serialization.load_pem_private_key(read_secret(files.key), password=None)
    except (OSError, ValueError) as error:
        raise IdentityError(
            "certificate, key or authority cannot be read",
            code="TW7341",
            at=str(files.certificate.parent),
            help=f"take them from the newest backup, or {renew}",
        ) from error
    if leaf.public_key() != key.public_key():
        raise IdentityError(
            "the certificate is for another key than the one that is here",
            code="TW7342",
            at=str(files.certificate),
            help=f"bring back `secrets/tls.key`, or {renew}",
        )
    if not any(_issued(leaf, authority) for authority in trusted):
        raise IdentityError(
            "the certificate was issued by another authority than `ca.pem`",
            code="TW7343",
            at=str(files.ca),
            help=f"the authority was changed, or the file replaced: {renew}, and compare the "
            "authority's fingerprint with the coordinator by phone",
        )
    return lasting(leaf, at=str(files.certificate), now=now, renew=renew, by_itself=by_itself)


def _issued(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def lasting(leaf: x509.Certificate, *, at: str, now: float, renew: str, by_itself: str) -> str:
    """It is valid now, and for two weeks more.

    Raises:
        IdentityError: TW7344 not yet, TW7345 no more. Concern: TW7346, soon no more.
    """
    moment = datetime.fromtimestamp(now, tz=UTC)
    begins, ends = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if moment < begins:
        raise IdentityError(
            f"the certificate is not valid before {begins:%Y-%m-%d %H:%M} UTC",
            code="TW7344",
            at=at,
            help="set this machine's clock; it seems to be behind",
        )
    if moment > ends:
        raise IdentityError(
            f"the certificate expired on {ends:%Y-%m-%d %H:%M} UTC",
            code="TW7345",
            at=at,
            help=renew,
        )
    if moment > ends - SOON:
        raise Concern(
            f"the certificate expires on {ends:%Y-%m-%d}",
            code="TW7346",
            at=at,
            help=f"{renew}; {by_itself}",
        )
    return f"valid until {ends:%Y-%m-%d}"
