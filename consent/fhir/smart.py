"""SMART on FHIR backend services: a record system proves by its key who it is, and gets a token.

The assertion is RFC 7523 with RS384 or ES384; its name (``jti``) counts once. A token is random,
counts five minutes and is kept as a hash, in memory only: a restart ends it.
https://hl7.org/fhir/smart-app-launch/backend-services.html
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import extract_compact

from consent.fhir.kept import Versions
from twinward.clock import Clock
from twinward.errors import IdentityError

ALGORITHMS: Final = ["RS384", "ES384"]
TOKEN_SECONDS: Final = 300
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SCOPES: Final = {
    "system/Consent.read": "rs",
    "system/Consent.write": "cu",
    "system/Consent.rs": "rs",
    "system/Consent.cu": "cu",
    "system/Consent.cruds": "crus",
}
"""What each scope lets a client do: create, read, update (which withdraws), search. Nothing is
ever deleted, whatever a scope says."""
_LONGEST = 8_192
_SKEW = 5.0


class TokenRefused(IdentityError):
    """No token, with the word of RFC 6749 5.2 for why."""

    default_code = "TW8610"

    def __init__(self, word: str, why: str) -> None:
        """Refuse with this word."""
        super().__init__(
            f"no token: {why}",
            code="TW8610",
            help="sign an assertion as the SMART backend services guide says; see docs/fhir.md",
        )
        self.word = word


@dataclass(frozen=True, slots=True)
class Client:
    """A record system that may use the API: its name, its public keys (JWKS), its scopes."""

    name: str
    keys: Mapping[str, Any]
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who holds a token, and for what."""

    client: str
    scopes: tuple[str, ...]
    expires: float

    def may(self, act: str) -> bool:
        """Whether one of the scopes lets it ``c``, ``r``, ``u`` or ``s``."""
        return any(act in SCOPES[scope] for scope in self.scopes)


class Tokens:
    """Gives tokens to known clients and says whose a token is. Thread-safe."""

    def __init__(
        self, clients: Sequence[Client], *, audience: str, versions: Versions, clock: Clock
    ) -> None:
        """Tokens for these clients; ``audience`` is the address of the token endpoint."""
        self._clients = {client.name: client for client in clients}
        self._audience = audience
        self._versions = versions
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[bytes, Bearer] = {}

    def give(self, form: Mapping[str, str]) -> dict[str, Any]:
        """The answer of the token endpoint.

        Raises:
            TokenRefused: TW8610.
        """
        if form.get("grant_type") != "client_credentials":
            raise TokenRefused("unsupported_grant_type", "client_credentials is needed")
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise TokenRefused("invalid_request", "a signed assertion is needed")
        client = self._client(form.get("client_assertion", ""))
        asked = tuple(dict.fromkeys(form.get("scope", "").split()))
        if not asked or any(scope not in client.scopes for scope in asked):
            raise TokenRefused("invalid_scope", "a scope is not among the client's")
        token = secrets.token_urlsafe(32)
        now = self._clock.now()
        with self._lock:
            self._held = {k: held for k, held in self._held.items() if held.expires > now}
            self._held[_hashed(token)] = Bearer(client.name, asked, now + TOKEN_SECONDS)
        return {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": TOKEN_SECONDS,
            "scope": " ".join(asked),
        }

    def bearer(self, authorization: str) -> Bearer | None:
        """Whose token the header ``Authorization`` carries; None if nobody's, or it has ended."""
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer":
            return None
        with self._lock:
            held = self._held.get(_hashed(token))
        return held if held is not None and held.expires > self._clock.now() else None

    def _client(self, assertion: str) -> Client:
        client = self._clients.get(_claimed_issuer(assertion))
        if client is None:
            raise TokenRefused("invalid_client", "nobody of that name may use this")
        try:
            keys = KeySet.import_key_set({"keys": list(client.keys["keys"])})
            claims = jwt.decode(assertion, keys, algorithms=ALGORITHMS).claims
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise TokenRefused("invalid_client", "it is not signed by the client") from error
        self._require_claims(claims, client)
        return client

    def _require_claims(self, claims: Mapping[str, Any], client: Client) -> None:
        now = self._clock.now()
        expires, jti = _moment(claims, "exp"), claims.get("jti")
        if claims.get("iss") != client.name or claims.get("sub") != client.name:
            raise TokenRefused("invalid_client", "it names another client")
        if claims.get("aud") not in (self._audience, [self._audience]):
            raise TokenRefused("invalid_client", "it is for another server")
        if not now < expires <= now + TOKEN_SECONDS + _SKEW:
            raise TokenRefused("invalid_client", "it has expired, or counts for too long")
        if "nbf" in claims and _moment(claims, "nbf") > now + _SKEW:
            raise TokenRefused("invalid_client", "it does not count yet")
        if not isinstance(jti, str) or not 0 < len(jti) <= 255:
            raise TokenRefused("invalid_client", "it has no name of its own (jti)")
        if not self._versions.is_first(client.name, jti, expires=expires + _SKEW, now=now):
            raise TokenRefused("invalid_client", "it was used before")


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenRefused("invalid_client", f"`{name}` is no time")
    return value


def _claimed_issuer(assertion: str) -> str:
    """Who an assertion says it is from, to find the keys that it is then checked with."""
    if len(assertion) > _LONGEST:
        raise TokenRefused("invalid_client", "the assertion is too long")
    try:
        issuer = json.loads(extract_compact(assertion.encode()).payload)["iss"]
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise TokenRefused("invalid_client", "the assertion is malformed") from error
    return issuer if isinstance(issuer, str) else ""


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
