"""Who is calling: the certificate says which key, the founding file whose key that is."""

from __future__ import annotations

from collections.abc import Mapping

from cryptography import x509

from twinward.errors import IdentityError
from twinward.founding import Founding, Member, tls_key_digest


def certificate_of(auth_context: Mapping[str, list[bytes]]) -> x509.Certificate:
    """The certificate whose key the caller has proved to hold.

    Raises:
        IdentityError: TW2030, there is none.
    """
    certificates = auth_context.get("x509_pem_cert") or []
    if not certificates:
        raise IdentityError(
            "the caller showed no certificate",
            code="TW2030",
            help="connect with the certificate that the network's authority issued",
        )
    return x509.load_pem_x509_certificate(certificates[0])


def peer_member(auth_context: Mapping[str, list[bytes]], founding: Founding) -> Member:
    """The member whose TLS key the caller has proved to hold.

    Raises:
        IdentityError: TW2030 no certificate, TW2031 a certificate of nobody in this network.
    """
    digest = tls_key_digest(certificate_of(auth_context).public_key())
    for member in founding.members:
        if member.tls_spki_sha256 == digest:
            return member
    raise IdentityError(
        "the caller's certificate belongs to no member of this network",
        code="TW2031",
        help="a member is named in the founding file, or was endorsed by the hospitals since",
    )
