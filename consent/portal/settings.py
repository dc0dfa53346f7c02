"""Settings of the patients' site: ``portal.toml`` in a node's folder; without the file, none."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from twinward.settings import RoleSettings, load

FILE: Final = "portal.toml"


class MailSettings(BaseModel):
    """How mails go out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    relay: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65535)
    sender: str = Field(pattern=r"^[!-?A-~]+@[!-?A-~]+$")
    site: str = Field(pattern=r"^https://[!-~]+$")
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None


class PortalSettings(RoleSettings):
    """What a hospital decides about the site.

    Attributes:
        drafts: Whether visitors can choose translations that nobody checked; each page says so.
        mail: How mails go out; None: none are offered.
    """

    drafts: bool = True
    mail: MailSettings | None = None


def of(folder: Path) -> PortalSettings:
    """The settings of the node in this folder.

    Raises:
        UsageError: TW1051, TW1052, the file is wrong.
    """
    path = folder / FILE
    return load(PortalSettings, path) if path.is_file() else PortalSettings()
