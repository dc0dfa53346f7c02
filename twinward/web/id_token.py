"""What an OpenID provider states about a person, believed only if every check holds.

OpenID Connect Core 1.0, section 3.1.3.7, and RFC 8725: two signature algorithms that we chose, keys
that the provider publishes, and a statement for us, of now, for the sign-in that we began.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from twinward.errors import IdentityError

ALGORITHMS = ("RS256", "ES256")
"""Never ``none``, and no HMAC: a public key must not serve as a shared secret."""

SKEW_SECONDS = 60
LONGEST_BYTES = 16 * 1024
_RSA_BITS = 2048
_LONGEST_SUBJECT = 255


def subject_of(
    token: object,
    *,
    keys: Mapping[str, Any],
    issuer: str,
    client_id: str,
    nonce: str,
    since: float,
    now: float,
) -> str:
    """The person's name at the provider, if the ID token holds.

    Args:
        token: As it came from the token endpoint.
        keys: The provider's JWKS (RFC 7517).
        issuer: Who must have made it.
        client_id: For whom it must be, and for nobody else.
        nonce: What we sent when the sign-in began.
        since: When that was, Unix seconds; an older statement is not about it.
        now: Unix seconds.

    Raises:
        IdentityError: TW7065, with the check that failed.
    """
    if not isinstance(token, str) or len(token) > LONGEST_BYTES:
        raise _refused("there is none")
    try:
        claims = jwt.decode(token, _signing_keys(keys), algorithms=ALGORITHMS).claims
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise _refused("its signature is not one of the provider's") from error
    if claims.get("iss") != issuer:
        raise _refused("another issuer made it")
    if claims.get("aud") not in (client_id, [client_id]):
        raise _refused("it is for somebody else")
    if claims.get("azp", client_id) != client_id:
        raise _refused("somebody else asked for it")
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
        raise _refused("it belongs to another sign-in")
    _require_now(claims, since=since, now=now)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not is_subject(subject):
        raise _refused("it names nobody")
    return subject


def is_subject(text: str) -> bool:
    """Whether a provider may name a person so: 1 to 255 ASCII characters."""
    return 0 < len(text) <= _LONGEST_SUBJECT and text.isascii() and text.isprintable()


def _require_now(claims: Mapping[str, Any], *, since: float, now: float) -> None:
    if _moment(claims, "exp") <= now - SKEW_SECONDS:
        raise _refused("it has expired")
    if not since - SKEW_SECONDS <= _moment(claims, "iat") <= now + SKEW_SECONDS:
        raise _refused("it was not made during this sign-in")
    if "nbf" in claims and _moment(claims, "nbf") > now + SKEW_SECONDS:
        raise _refused("it is not valid yet")


def _signing_keys(published: Mapping[str, Any]) -> KeySet:
    """The keys that can have made a signature we accept; others in the set are left aside."""
    found = [
        key
        for key in published["keys"]
        if isinstance(key, dict)
        and (key.get("kty") == "RSA" or (key.get("kty"), key.get("crv")) == ("EC", "P-256"))
        and key.get("use", "sig") == "sig"
        and key.get("alg", ALGORITHMS[0]) in ALGORITHMS
    ]
    keys = KeySet.import_key_set({"keys": found})
    strong = [
        key for key in keys if not isinstance(key, RSAKey) or key.public_key.key_size >= _RSA_BITS
    ]
    return KeySet(strong)


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(f"`{name}` is no time")
    return value


def _refused(why: str) -> IdentityError:
    return IdentityError(
        f"the provider's statement about you is refused: {why}",
        code="TW7065",
        help="begin again at /sign-in; if it happens again, tell the coordinator",
    )
