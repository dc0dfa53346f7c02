"""The organisation that says who people are: its settings, and the secret we show to it.

    [oidc]
    issuer = "https://login.example.org/realms/audit"
    client_id = "twinward"
    client_secret = "secrets/oidc.secret"

The secret is a file that only its owner can read; it is never a setting, an argument or a variable.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from twinward.errors import UsageError
from twinward.files import read_secret

_LONGEST = 2_000


class ProviderSettings(BaseModel):
    """The table ``[oidc]`` of a site's settings file; paths are seen from its folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str = Field(description="the provider's issuer, compared exactly; https")
    client_id: str = Field(min_length=1, description="our name at the provider")
    client_secret: Path = Field(description="file of the secret, readable by its owner only")
    ca: Path | None = Field(None, description="CA of the provider, if it is not a public one")


@dataclass(frozen=True, slots=True)
class Provider:
    """An OpenID provider that a site relies on.

    Attributes:
        issuer: Its name, an https address; compared exactly, never normalised.
        client_id: Our name there.
        client_secret: What proves to it that we are that client; in no log and no `repr`.
        tls: Which CA is trusted to say that a server is the provider's.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    tls: ssl.SSLContext = field(repr=False)

    @property
    def host(self) -> str:
        """What people know it by."""
        return urlsplit(self.issuer).netloc


def load_provider(folder: Path, settings: ProviderSettings) -> Provider:
    """The provider with our secret read from its file.

    Raises:
        UsageError: TW7060 the issuer is no https address, the secret is empty or the CA unreadable;
            TW1014 no file.
        IdentityError: TW2005, others can read the secret.
    """
    secret = read_secret(folder / settings.client_secret).decode("utf-8", "replace").strip()
    if not secret:
        raise _wrong("the file of the client's secret is empty")
    try:
        tls = ssl.create_default_context(cafile=settings.ca and folder / settings.ca)
    except OSError as error:  # ssl.SSLError is one
        raise _wrong("the CA of the provider cannot be read") from error
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    return Provider(require_issuer(settings.issuer), settings.client_id, secret, tls)


def require_issuer(issuer: str) -> str:
    """The issuer as it was given, if it can be one (OpenID Connect Core 1.0, section 2).

    Raises:
        UsageError: TW7060.
    """
    if not is_https(issuer) or "?" in issuer:
        raise _wrong(f"`{issuer[:80]}` is no issuer: an https address without query and fragment")
    return issuer


def is_https(address: object) -> bool:
    """Whether this is an https address of a server, with nobody's name in it and no fragment."""
    if not isinstance(address, str) or len(address) > _LONGEST or "#" in address:
        return False
    if not address.isascii() or not address.isprintable() or " " in address:
        return False
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - it raises where the port is no number
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc


def _wrong(why: str) -> UsageError:
    return UsageError(
        why, code="TW7060", help="correct `[oidc]` in the settings file, or the option `--oidc`"
    )
