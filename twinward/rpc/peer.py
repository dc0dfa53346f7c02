"""Who is calling: the certificate says which key, the founding file whose key that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from cryptography import x509

from twinward.errors import IdentityError
from twinward.founding import Founding, Member, tls_key_digest

if TYPE_CHECKING:
    import grpc

SHOWN_HEADER: Final = "x-twinward-client"
"""In which the front door says whose certificate it checked, PEM, percent-encoded."""

ADDRESS_HEADER: Final = "x-twinward-address"
"""In which the front door says from which address a call without a certificate came to it."""
_LOOPBACK = ("ipv4:127.0.0.1", "ipv6:[::1]", "ipv6:%5B::1%5D")


def address_behind(context: grpc.aio.ServicerContext, *, door: bool) -> str:
    """The caller's address; of a call through the front door the one that the door saw.

    Only what comes from this machine is believed about another address, and only if there is a
    door; the door puts the header over whatever a caller wrote there.

    Args:
        context: Of the call.
        door: Whether a front door stands before this service.
    """
    peer = str(context.peer()).rpartition(":")[0]
    if not door or peer not in _LOOPBACK:
        return peer
    said = [str(value) for name, value in context.invocation_metadata() or ()
            if name == ADDRESS_HEADER]  # fmt: skip
    return said[0] if len(said) == 1 else peer


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


def certificate_behind(context: grpc.aio.ServicerContext, *, door: str | None) -> x509.Certificate:
    """The caller's certificate; of a call through the front door the one that was shown there.

    Only who holds the front door's key is believed about somebody else's certificate.

    Args:
        context: Of the call.
        door: SHA-256 of the front door's public key, hex; None without a front door.

    Raises:
        IdentityError: TW2030, there is none.
    """
    shown = certificate_of(context.auth_context())
    if door is None or tls_key_digest(shown.public_key()) != door:
        return shown
    said = [value for name, value in context.invocation_metadata() or () if name == SHOWN_HEADER]
    return certificate_of({"x509_pem_cert": [unquote_to_bytes(one) for one in said if one]})


def member_with(certificate: x509.Certificate, founding: Founding) -> Member:
    """The member whose TLS key this certificate is of.

    Raises:
        IdentityError: TW2031, a certificate of nobody in this network.
    """
    digest = tls_key_digest(certificate.public_key())
    for member in founding.members:
        if member.tls_spki_sha256 == digest:
            return member
    raise IdentityError(
        "the caller's certificate belongs to no member of this network",
        code="TW2031",
        help="a member is named in the founding file, or was endorsed by the hospitals since",
    )
