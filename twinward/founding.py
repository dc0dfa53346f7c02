"""The founding file: who the first members are, signed by every one of them.

It binds each organisation's Ed25519 identity to its TLS key, its Flower key and its ledger
account, names the ledger's first block and the network's CA. Nothing later is trusted that does
not lead back to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from twinward import canonical
from twinward.errors import IdentityError, UsageError
from twinward.ids import Fingerprint, OrgName, org_name
from twinward.signing import Document, PublicIdentity

KIND = "twinward/founding/v1"
KEYS_KIND = "twinward/keys/v1"
COORDINATOR = "coordinator"
HOSPITAL = "hospital"
ENDPOINTS = ("network", "flower", "ledger")
"""Where the coordinator listens: secure sums (host:port), Flower (host:port), ledger (URL)."""


@dataclass(frozen=True, slots=True)
class Member:
    """One organisation and everything its identity signs for."""

    org: OrgName
    role: str
    identity: PublicIdentity
    tls_spki_sha256: str
    flower_public_key: str
    ledger_account: str
    certificate: str
    keys: Document

    @property
    def fingerprint(self) -> Fingerprint:
        """Fingerprint of the Ed25519 identity."""
        return self.identity.fingerprint

    @property
    def is_hospital(self) -> bool:
        """Whether the member trains (the coordinator does not)."""
        return self.role == HOSPITAL


@dataclass(frozen=True)
class Founding:
    """A founding file whose every signature has been checked."""

    document: Document
    network: str
    chain: Mapping[str, Any]
    endpoints: Mapping[str, str]
    ca_certificate: str
    members: tuple[Member, ...]
    admissions: tuple[Document, ...] = ()
    """Whoever joined later, each endorsed by the hospitals before it: ``twinward.admission``."""

    moves: tuple[Document, ...] = ()
    """Changes of contract addresses, each signed by every active hospital: ``twinward.moved``."""

    @property
    def founders(self) -> tuple[Member, ...]:
        """The members that the founding file itself names."""
        return self.members[: len(self.members) - len(self.admissions)]

    @property
    def digest(self) -> bytes:
        """32 bytes: what the ledger's membership contract was founded on."""
        return self.document.digest

    @property
    def contracts(self) -> Mapping[str, str]:
        """Where each contract of the ledger stands now, by its name."""
        return dict(self.moves[-1].payload["new"] if self.moves else self.chain["contracts"])

    @property
    def is_ledger_outside(self) -> bool:
        """Whether the ledger is kept elsewhere, and not by the coordinator's embedded node."""
        return "genesis" not in self.chain

    @cached_property
    def coordinator(self) -> Member:
        """The one coordinator."""
        return next(member for member in self.members if member.role == COORDINATOR)

    @cached_property
    def hospitals(self) -> tuple[Member, ...]:
        """The hospitals, in the order of the file."""
        return tuple(member for member in self.members if member.is_hospital)

    def member(self, org: str) -> Member:
        """The member of this name.

        Raises:
            IdentityError: TW2010, nobody of this name founded the network or joined it.
        """
        for member in self.members:
            if member.org == org:
                return member
        raise IdentityError(
            f"`{org}` is not a member of `{self.network}`",
            code="TW2010",
            help="check the name; a hospital joins with `twinward node join`",
        )

    @classmethod
    def decode(cls, data: bytes, *, at: str = "founding file") -> Founding:
        """Read a founding file; requires the signature of every member it names.

        Raises:
            UsageError: TW1011, TW1012, TW1030.
            IdentityError: TW2002, TW2004, TW2011.
        """
        founding = cls.draft(data, at=at)
        for member in founding.members:
            founding.document.verify(member.identity)
        return founding

    @classmethod
    def draft(cls, data: bytes, *, at: str = "founding file") -> Founding:
        """Read a founding file that may still lack signatures: what a member is asked to sign."""
        document = Document.decode(data, kind=KIND, at=at)
        payload = document.payload
        try:
            members = tuple(read_member(entry, at=at) for entry in payload["members"])
            founding = cls(
                document=document,
                network=org_name(payload["network"]),
                chain=dict(payload["chain"]),
                endpoints={name: str(payload["endpoints"][name]) for name in ENDPOINTS},
                ca_certificate=str(payload["ca_certificate"]),
                members=members,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                "the founding file lacks a field or has one of the wrong type",
                code="TW1030",
                at=at,
                help="have the coordinator make it again with `twinward server found`",
            ) from error
        require_distinct(members, at=at)
        _require_enough(founding, at=at)
        return founding


def tls_key_digest(key: PublicKeyTypes) -> str:
    """SHA-256 of a public key (SubjectPublicKeyInfo), in hex."""
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).hexdigest()


def keys_document(
    *,
    org: OrgName,
    role: str,
    identity: PublicIdentity,
    tls_spki_sha256: str,
    flower_public_key: str,
    ledger_account: str,
) -> Document:
    """What an identity signs to claim the other keys that its organisation uses."""
    return Document(
        KEYS_KIND,
        {
            "org": org,
            "role": role,
            "identity": identity.raw.hex(),
            "tls_spki_sha256": tls_spki_sha256,
            "flower_public_key": flower_public_key,
            "ledger_account": ledger_account,
        },
    )


def read_member(entry: Mapping[str, Any], *, at: str) -> Member:
    """A member from its signed keys and its certificate, which must be for the key it signed.

    Raises:
        IdentityError: TW2001, TW2002, TW2004, TW2011.
    """
    keys = Document.decode(canonical.encode(entry["keys"]), kind=KEYS_KIND, at=at)
    claims = keys.payload
    identity = PublicIdentity.from_hex(claims["identity"])
    keys.verify(identity)
    certificate = str(entry["certificate"])
    member = Member(
        org=org_name(claims["org"]),
        role=str(claims["role"]),
        identity=identity,
        tls_spki_sha256=str(claims["tls_spki_sha256"]),
        flower_public_key=str(claims["flower_public_key"]),
        ledger_account=str(claims["ledger_account"]),
        certificate=certificate,
        keys=keys,
    )
    key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    if tls_key_digest(key) != member.tls_spki_sha256:
        raise IdentityError(
            f"the certificate of `{member.org}` is for another key than its identity signed",
            code="TW2011",
            at=at,
            help="do not sign; ask the coordinator for the file again and compare by phone",
        )
    return member


def require_distinct(members: Sequence[Member], *, at: str) -> None:
    """Require one coordinator, known roles, and that no two members share a name or a key.

    Raises:
        IdentityError: TW2011.
    """
    keys: list[list[str]] = [
        [member.org for member in members],
        [member.fingerprint for member in members],
        [member.tls_spki_sha256 for member in members],
        [member.ledger_account.lower() for member in members],
        [" ".join(member.flower_public_key.split()[:2]) for member in members],
    ]
    distinct = all(len(set(column)) == len(column) for column in keys)
    roles = [member.role for member in members]
    if not distinct or roles.count(COORDINATOR) != 1 or set(roles) - {COORDINATOR, HOSPITAL}:
        raise IdentityError(
            "a founding file needs one coordinator and members that share no name and no key",
            code="TW2011",
            at=at,
            help="have the coordinator make it again with `twinward server found`",
        )


def _require_enough(founding: Founding, *, at: str) -> None:
    if len(founding.hospitals) < 3:
        raise UsageError(
            f"{len(founding.hospitals)} hospitals cannot hide one another; at least 3 are needed",
            code="TW1031",
            at=at,
            note="with two, each would learn the other's update by subtracting its own",
            help="invite at least three hospitals",
        )
