"""Settings of an explorer: ``explorer.toml`` in its folder, which may be absent."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from twinward.settings import RoleSettings, load
from twinward.web.provider import Provider, ProviderSettings, load_provider

FILE = "explorer.toml"


class ExplorerSettings(RoleSettings):
    """What an operator can choose for the auditors' site."""

    oidc: ProviderSettings | None = Field(None, description="provider at which auditors sign in")


def provider_of(folder: Path) -> Provider | None:
    """The OpenID provider that the folder names, with our secret, or None.

    Raises:
        UsageError: TW1051, TW1052 the file is wrong; TW7060 the provider's table is; TW1014.
        IdentityError: TW2005, others can read the secret.
    """
    path = folder / FILE
    chosen = load(ExplorerSettings, path).oidc if path.exists() else None
    return None if chosen is None else load_provider(folder, chosen)
