"""Signing in at an organisation's OpenID provider: authorization code with PKCE, and nothing else.

OpenID Connect Core 1.0, section 3.1, as RFC 9700 wants it: S256 (RFC 7636), a state that only the
visitor who began can bring back, once, within ten minutes; a nonce; the issuer in the answer (RFC
9207); one redirect URI. The discovery document and the keys are fetched anew for each sign-in, so a
key that the provider withdrew is refused from then on. What leaves this machine: our client's name,
secret and redirect URI to the provider, nothing about the network. Tokens are kept nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx

from twinward.clock import Clock
from twinward.errors import IdentityError, TwinwardError
from twinward.web.id_token import subject_of
from twinward.web.provider import Provider, is_https

ATTEMPT_SECONDS = 600
_MOST_ATTEMPTS = 1_000
_MOST_BYTES = 256 * 1024
_TIMEOUT_SECONDS = 10.0
_WELL_KNOWN = "/.well-known/openid-configuration"
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True, slots=True)
class Proved:
    """Who came back from the provider.

    Attributes:
        issuer: The provider.
        subject: The person's name there, never used again for anybody else.
        memo: What the site noted when the sign-in began.
    """

    issuer: str
    subject: str
    memo: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Attempt:
    visitor: str
    nonce: str
    verifier: str
    metadata: Mapping[str, Any]
    memo: Mapping[str, str]
    begun: float


class OpenId:
    """Sign-ins of one site at one provider. Thread-safe; a restart ends open attempts."""

    def __init__(self, provider: Provider, *, redirect_uri: str, clock: Clock) -> None:
        """Nothing is sent yet.

        Args:
            provider: Whom to ask.
            redirect_uri: Where the provider sends people back to, as registered there.
            clock: For the ages of attempts and statements.
        """
        self.provider = provider
        self._redirect_uri = redirect_uri
        self._clock = clock
        self._lock = threading.Lock()
        self._attempts: OrderedDict[bytes, _Attempt] = OrderedDict()
        # No redirects and no proxies of the environment: the settings name whom we talk to.
        self._client = httpx.Client(
            verify=provider.tls, timeout=_TIMEOUT_SECONDS, trust_env=False, follow_redirects=False
        )

    def close(self) -> None:
        """Release the connections."""
        self._client.close()

    def begin(self, *, visitor: str, memo: Mapping[str, str]) -> str:
        """The provider's address to which a visitor should go.

        Args:
            visitor: What is tied to the visitor's cookie; the same must come back.
            memo: What the site wants to know at the end; stays on this machine.

        Raises:
            IdentityError: TW7061 the provider cannot be reached, TW7062 it is not what was set.
        """
        attempt = _Attempt(
            visitor=visitor,
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            metadata=self._discover(),
            memo=memo,
            begun=self._clock.now(),
        )
        state = secrets.token_urlsafe(32)
        with self._lock:
            self._attempts[_hashed(state)] = attempt
            if len(self._attempts) > _MOST_ATTEMPTS:
                self._attempts.popitem(last=False)
        challenge = base64.urlsafe_b64encode(_hashed(attempt.verifier)).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "scope": "openid",
            "client_id": self.provider.client_id,
            "redirect_uri": self._redirect_uri,
            "state": state,
            "nonce": attempt.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = str(attempt.metadata["authorization_endpoint"])
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def finish(self, answer: Mapping[str, str], *, visitor: str) -> Proved:
        """Who the visitor is, from the query with which the provider sent them back.

        Raises:
            IdentityError: TW7063 nobody here began this, TW7064 the provider refused, TW7065 its
                statement does not hold; TW7061, TW7062 as for `begin`.
        """
        with self._lock:  # whoever brings it: a state works once
            attempt = self._attempts.pop(_hashed(answer.get("state", "")), None)
        if (
            attempt is None
            or not hmac.compare_digest(attempt.visitor.encode(), visitor.encode())
            or not 0 <= self._clock.now() - attempt.begun <= ATTEMPT_SECONDS
        ):
            raise IdentityError(
                "this sign-in was not begun here, or it has ended",
                code="TW7063",
                help="begin again at /sign-in, and go on within ten minutes",
            )
        names_issuer = attempt.metadata.get("authorization_response_iss_parameter_supported")
        if answer.get("iss", None if names_issuer else self.provider.issuer) != (
            self.provider.issuer
        ):
            raise _mixed_up("the answer is from another provider")
        if "error" in answer or not answer.get("code"):
            raise _denied()
        token = self._redeem(answer["code"], attempt)
        subject = subject_of(
            token,
            keys=self._json("GET", str(attempt.metadata["jwks_uri"])),
            issuer=self.provider.issuer,
            client_id=self.provider.client_id,
            nonce=attempt.nonce,
            since=attempt.begun,
            now=self._clock.now(),
        )
        return Proved(self.provider.issuer, subject, attempt.memo)

    def _discover(self) -> dict[str, Any]:
        found = self._json("GET", self.provider.issuer.rstrip("/") + _WELL_KNOWN)
        if found.get("issuer") != self.provider.issuer:
            raise _mixed_up("it calls itself by another issuer's name")
        if not all(is_https(found.get(name)) for name in _ENDPOINTS):
            raise _mixed_up("an address of it is missing or not https")
        if "S256" not in found.get("code_challenge_methods_supported", ["S256"]):
            raise _mixed_up("it does not know PKCE with S256")
        return found

    def _redeem(self, code: str, attempt: _Attempt) -> object:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": attempt.verifier,
        }
        name, secret = self.provider.client_id, self.provider.client_secret
        headers = {"accept": "application/json"}
        ways = attempt.metadata.get("token_endpoint_auth_methods_supported")
        if ways is None or "client_secret_basic" in ways:
            pair = f"{quote_plus(name)}:{quote_plus(secret)}"  # RFC 6749, 2.3.1
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif "client_secret_post" in ways:
            form |= {"client_id": name, "client_secret": secret}
        else:
            raise _mixed_up("it takes no client secret")
        endpoint = str(attempt.metadata["token_endpoint"])
        return self._json("POST", endpoint, data=form, headers=headers).get("id_token")

    def _json(self, method: str, address: str, **more: Any) -> dict[str, Any]:
        try:
            with self._client.stream(method, address, **more) as answer:
                body = b""
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise _mixed_up("its answer is too large")
        except httpx.HTTPError as error:
            raise _out_of_reach() from error
        if answer.status_code >= 500:
            raise _out_of_reach()
        if method == "POST" and answer.status_code >= 400:
            raise _denied()
        try:
            found = json.loads(body) if answer.status_code == 200 else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise _mixed_up("its answer is not what the protocol says")
        return found


def _hashed(word: str) -> bytes:
    return hashlib.sha256(word.encode()).digest()


def _out_of_reach() -> TwinwardError:
    return IdentityError(
        "the OpenID provider cannot be reached",
        code="TW7061",
        help="try again in a moment; if it stays so, tell the coordinator",
    )


def _mixed_up(why: str) -> TwinwardError:
    return IdentityError(
        f"the OpenID provider is not what was agreed: {why}",
        code="TW7062",
        help="tell the coordinator; nobody was signed in",
    )


def _denied() -> TwinwardError:
    return IdentityError(
        "the OpenID provider did not let you in",
        code="TW7064",
        help="begin again at /sign-in, or ask your organisation",
    )
