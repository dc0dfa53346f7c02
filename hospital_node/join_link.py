"""The way to a coordinator's door before this hospital has a certificate: pinned by a fingerprint.

Nothing of the machine's own trust store counts. What answers at the address has to show, in its
chain, the certificate whose SHA-256 the token names; from then on that authority alone is trusted.
"""

from __future__ import annotations

import hashlib
import ssl
from typing import Any, Self

import grpc

from twinward import canonical
from twinward.errors import CoordinatorUnreachable, IdentityError, TwinwardError
from twinward.join_token import JoinToken
from twinward.reach import Reach
from twinward.rpc import protocol
from twinward.rpc.messages_pb2 import Blob
from twinward.rpc.messages_pb2_grpc import JoinStub
from twinward.rpc.replies import refusal_of

_SECONDS = 20.0


class JoinLink:
    """Questions at the door; the token goes with each, inside TLS."""

    def __init__(self, token: JoinToken, *, reach: Reach) -> None:
        """Connect, straight or through the forwarder that ``reach`` names.

        Raises:
            IdentityError: TW6020, the address shows no certificate that the token names.
            CoordinatorUnreachable: TW6021.
        """
        self._token = token
        self.authority = pinned_authority(token, reach=reach)
        credentials = grpc.ssl_channel_credentials(root_certificates=self.authority)
        options = reach.channel_options()
        self._channel = grpc.secure_channel(token.address, credentials, options=options)
        self._door = JoinStub(self._channel)

    def __enter__(self) -> Self:
        """The channel is closed with the ``with`` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the channel."""
        self._channel.close()

    def hello(self) -> dict[str, Any]:
        """Who invites whom: ``network``, ``hospital``, ``expires``, ``protocol``.

        Raises:
            UsageError: TW6022, no version of the protocol in common.
            IdentityError: TW6016 to TW6019, the token.
            CoordinatorUnreachable: TW6021.
        """
        return self._ask(self._door.Hello, protocols=list(protocol.SPEAKS))

    def enrol(self, request: bytes, *, version: int) -> dict[str, Any]:
        """Hand in the join request: certificate, founding file, authorities, and how far it is.

        Raises:
            IdentityError: What is wrong with token or request, in the coordinator's words.
            CoordinatorUnreachable: TW6021.
        """
        value = canonical.decode(request, at="join request")
        return self._ask(self._door.Enrol, request=value, protocol=version)

    def standing(self) -> dict[str, Any]:
        """How far it is: ``endorsed``, ``needed``, ``active``, ``admissions``."""
        return self._ask(self._door.Standing)

    def _ask(self, call: Any, **fields: Any) -> dict[str, Any]:
        body = canonical.encode({"token": self._token.secret.hex(), **fields})
        try:
            answer = call(Blob(data=body), timeout=_SECONDS)
        except grpc.RpcError as error:
            raise refusal_of(error, otherwise=unreachable(self._token.address)) from error
        value: dict[str, Any] = canonical.decode(answer.data, at="coordinator's answer")
        return value


def pinned_authority(token: JoinToken, *, reach: Reach) -> bytes:
    """The authority that the token names, as PEM, out of the chain that the address shows.

    Raises:
        IdentityError: TW6020, the address shows none with this fingerprint.
        CoordinatorUnreachable: TW6021.
    """
    host, _, port = token.address.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # Nothing is believed yet: what is looked for is recognised by its hash.
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            reach.connection((host.strip("[]"), int(port)), timeout=_SECONDS) as plain,
            context.wrap_socket(plain) as tls,
        ):
            chain = _chain(tls)
    except (OSError, ValueError) as error:
        raise unreachable(token.address) from error
    for certificate in chain:
        if hashlib.sha256(certificate).digest() == token.authority:
            return ssl.DER_cert_to_PEM_cert(certificate).encode()
    raise IdentityError(
        "whoever answers there is not the coordinator that made this token",
        code="TW6020",
        at=token.address,
        note="no certificate of its chain has the fingerprint in the token",
        help="send nothing; ask the coordinator by phone for its address and CA fingerprint",
    )


def _chain(tls: ssl.SSLSocket) -> list[bytes]:
    """The certificates as they were shown (DER), unverified.

    Public from Python 3.13 on; before, only the object underneath has it.
    """
    if hasattr(tls, "get_unverified_chain"):
        return list(tls.get_unverified_chain())
    below: Any = tls._sslobj  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    shown = below.get_unverified_chain() or []
    return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in shown]


def unreachable(address: str) -> TwinwardError:
    """Nobody answers at the door."""
    return CoordinatorUnreachable(
        "the coordinator does not answer at the address in the token",
        code="TW6021",
        at=address,
        help="check the network between here and there; then run the same command again",
    )
