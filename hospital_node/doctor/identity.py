"""Checks of who this hospital is: configuration, policy, keys, founding file, certificate."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from hospital_node import approvals, policy_code, policy_file
from hospital_node.doctor.findings import Concern, NotChecked
from hospital_node.doctor.site import Site
from hospital_node.policy import require
from hospital_node.policy_rules import Asked, Moment
from twinward.errors import IdentityError
from twinward.files import read_secret

_SECRETS = ("identity.key", "tls.key", "flower.key", "ledger.key")
SOON = timedelta(days=14)


def settings(site: Site) -> str:
    """``node.toml`` is read without an unknown key."""
    return f"node of `{site.settings.org}`"


def policy(site: Site) -> str:
    """``policy.toml`` is sound, and somebody can be called."""
    found = policy_file.read(site.folder)
    if not found.policy.studies:
        raise Concern(
            "the policy names no study, so every plan is refused",
            code="TW7307",
            at=str(site.folder / policy_file.FILE),
            help="add a [[studies]] entry for each study that the hospital agreed to",
        )
    return f"{found.digest[:16]}, studies: {', '.join(one.study for one in found.policy.studies)}"


def secrets(site: Site) -> str:
    """All keys are there, and only their owner can read them."""
    folder = site.organisation.secrets
    for name in _SECRETS:
        read_secret(folder / name)
    for place in (folder, site.folder / "state", site.folder / "run"):
        if place.exists() and place.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise IdentityError(
                "other users of this machine can enter a private folder of the node",
                code="TW7340",
                at=str(place),
                help=f"run `chmod 700 {place}`, and find out who could have read it",
            )
    return f"{len(_SECRETS)} keys, readable by their owner only"


def founding(site: Site) -> str:
    """The founding file verifies, and names this hospital with the key that is here."""
    member = site.founding.member(site.settings.org)
    if member.identity != site.organisation.identity().public:
        raise IdentityError(
            f"the founding file names `{site.settings.org}` with another key than is here",
            code="TW2013",
            at=str(site.organisation.founding_file),
            help="bring back the keys or the founding file of this hospital, unedited",
        )
    return f"`{site.founding.network}`, {len(site.founding.hospitals)} hospitals"


def certificate(site: Site) -> str:
    """Key, certificate and authority fit together, and the certificate lasts."""
    files = site.organisation.tls
    try:
        leaf = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        trusted = x509.load_pem_x509_certificates(files.ca.read_bytes())
        key = serialization.load_pem_private_key(read_secret(files.key), password=None)
    except (OSError, ValueError) as error:
        raise IdentityError(
            "certificate, key or authority cannot be read",
            code="TW7341",
            at=str(files.certificate.parent),
            help="run `twinward node accept` again, or `twinward node renew`",
        ) from error
    if leaf.public_key() != key.public_key():
        raise IdentityError(
            "the certificate is for another key than the one that is here",
            code="TW7342",
            at=str(files.certificate),
            help="bring back `secrets/tls.key`, or run `twinward node renew`",
        )
    if not any(_issued(leaf, authority) for authority in trusted):
        raise IdentityError(
            "the certificate was issued by another authority than `ca.pem`",
            code="TW7343",
            at=str(files.ca),
            help="the authority was changed, or the file replaced: run `twinward node renew`, and "
            "compare the authority's fingerprint with the coordinator by phone",
        )
    return _lasting(leaf, at=str(files.certificate), now=site.clock.now())


def approved_plans(site: Site) -> str:
    """Every approved plan reads, is still within the policy, and has its signatures."""
    names = approvals.names(site.folder)
    if not names:
        raise NotChecked("no plan is approved here yet")
    policy_now = policy_file.read(site.folder).policy
    for name in names:
        found = approvals.load(site.folder, name, founding=site.founding)
        asked = Asked(
            found.plan,
            site.settings.org,
            site.clock.now(),
            code=policy_code.installed() if policy_now.code else None,
        )
        require(policy_now, asked, at=Moment.PLAN)
        signed = approvals.signers(site.folder, found, policy_now, org=site.settings.org)
        if len(signed) < policy_now.approvals:
            raise IdentityError(
                f"the plan of `{name}` lacks approvals under the policy as it is now",
                code="TW7304",
                note=f"{len(signed)} of {policy_now.approvals}",
                help="have each approver run `twinward node approve` with a key of their own",
            )
    return ", ".join(names)


def _issued(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _lasting(leaf: x509.Certificate, *, at: str, now: float) -> str:
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
            help="run `twinward node renew`",
        )
    if moment > ends - SOON:
        raise Concern(
            f"the certificate expires on {ends:%Y-%m-%d}",
            code="TW7346",
            at=at,
            help="run `twinward node renew`; a running node does so by itself",
        )
    return f"valid until {ends:%Y-%m-%d}"
