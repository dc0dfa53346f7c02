"""A new certificate authority in place of the old one, both trusted until the old one is retired.

``ca.pem`` holds the authorities that are trusted, the one that signs first; replacing this file is
what makes a roll-over happen. ``ca.chain.pem`` holds the new authority as signed by the old one: it
goes with every certificate, so whoever trusts only the old one, such as a node that has not renewed
yet or a patient's letter, goes on without doing anything.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from server import ca
from twinward import authorities
from twinward.errors import UsageError
from twinward.files import write_atomic, write_secret
from twinward.founding import Founding
from twinward.organisation import Organisation

_PEM = serialization.Encoding.PEM


def issue(
    organisation: Organisation, csr: str, *, org: str, hosts: tuple[str, ...], now: float
) -> str:
    """A certificate by the authority that signs now, with what leads from it to the one before.

    Raises:
        IdentityError: TW2040.
    """
    leaf = ca.issue(
        csr,
        org=org,
        hosts=hosts,
        key_file=key_file(organisation),
        ca_file=organisation.tls.ca,
        now=now,
    )
    chain = _chain_file(organisation)
    return leaf + (chain.read_text(encoding="utf-8") if chain.exists() else "")


def roll(organisation: Organisation, *, network: str, now: float) -> None:
    """Make a new authority and let it sign from now on; the old one stays trusted.

    Dying before the last write leaves the old authority in charge, and a key that nobody uses.

    Raises:
        UsageError: TW6039, a roll-over is under way already.
    """
    trusted = certificates(organisation)
    if len(trusted) > 1:
        raise UsageError(
            "a roll-over is under way: two authorities are trusted now",
            code="TW6039",
            at=str(organisation.tls.ca),
            help="retire the old one with `twinward server retire-ca` once every member renewed",
        )
    old, old_key = trusted[0], ca.load_key(key_file(organisation))
    key = ec.generate_private_key(ec.SECP256R1())
    number = len(list(organisation.secrets.glob("ca*.key"))) + 1
    name = f"{network}, number {number}"
    root = ca.authority(key.public_key(), issuer=key, of=name, now=now)
    crossed = ca.authority(key.public_key(), issuer=old_key, of=name, now=now, above=old)
    write_secret(organisation.secrets / f"ca.{number}.key", ca.private_pem(key))
    write_atomic(_chain_file(organisation), crossed.public_bytes(_PEM))
    write_atomic(organisation.tls.ca, root.public_bytes(_PEM) + old.public_bytes(_PEM))


def retire(organisation: Organisation) -> int:
    """Trust the newest authority alone; how many others were trusted before."""
    newest, *others = certificates(organisation)
    write_atomic(organisation.tls.ca, newest.public_bytes(_PEM))
    return len(others)


def renew_own(organisation: Organisation, founding: Founding, *, now: float) -> None:
    """Give the coordinator a new certificate for the key that it has; servers use it at once."""
    own = founding.coordinator
    request = organisation.certificate_request(own.org).public_bytes(_PEM).decode()
    current = x509.load_pem_x509_certificate(organisation.tls.certificate.read_bytes())
    renewed = issue(organisation, request, org=own.org, hosts=ca.hosts_of(current), now=now)
    write_atomic(organisation.tls.certificate, renewed.encode())


def renew_own_if_due(organisation: Organisation, founding: Founding, *, now: float) -> bool:
    """The same once two thirds of its life are over; whether it was."""
    due = authorities.is_due(organisation.tls.certificate.read_bytes(), now=now)
    if due:
        renew_own(organisation, founding, now=now)
    return due


def der(certificate: x509.Certificate) -> bytes:
    """The bytes that a fingerprint is of."""
    return certificate.public_bytes(serialization.Encoding.DER)


def certificates(organisation: Organisation) -> list[x509.Certificate]:
    """The authorities that are trusted, the one that signs first."""
    return x509.load_pem_x509_certificates(organisation.tls.ca.read_bytes())


def key_file(organisation: Organisation) -> Path:
    """The key of the authority that signs certificates now.

    Raises:
        UsageError: TW6040, it is not here.
    """
    signing = certificates(organisation)[0].public_key()
    for path in organisation.secrets.glob("ca*.key"):
        if ca.load_key(path).public_key() == signing:
            return path
    raise UsageError(
        "the key of the authority that signs certificates is not here",
        code="TW6040",
        at=str(organisation.secrets),
        help="restore it from the coordinator's backup; certificates in use stay valid",
    )


def _chain_file(organisation: Organisation) -> Path:
    return organisation.folder / "ca.chain.pem"
