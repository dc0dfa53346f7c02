"""Settings of a role: a TOML file in its folder, overridden by ``TWINWARD_*`` variables.

Secrets are never values here, only paths. Settings are frozen and passed in; there is no global.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from twinward.errors import UsageError


class RoleSettings(BaseSettings):
    """Base of every role's settings: unknown keys are refused, values cannot change."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="TWINWARD_", env_nested_delimiter="__"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then the file."""
        del dotenv_settings, file_secret_settings
        toml = TomlConfigSettingsSource(settings_cls, settings_cls.model_config.get("toml_file"))
        return (init_settings, env_settings, toml)


Settings = TypeVar("Settings", bound=RoleSettings)


def load(kind: type[Settings], path: Path) -> Settings:
    """Read the settings of a role from its folder's TOML file and the environment.

    Raises:
        UsageError: TW1050 no such file, TW1051 not TOML, TW1052 a key is missing, unknown or wrong.
    """
    if not path.is_file():
        raise UsageError(
            "there is no configuration here",
            code="TW1050",
            at=str(path),
            help="run `init` for this folder first, or give the folder that `init` made",
        )
    try:
        tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the configuration is not valid TOML: {error}",
            code="TW1051",
            at=str(path),
            help="fix the line that is named; the commented file that `init` wrote is a model",
        ) from error

    class FromThisFile(kind):  # type: ignore[valid-type, misc]
        model_config = SettingsConfigDict(toml_file=path)

    try:
        return FromThisFile()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"the setting `{key}` is wrong: {first['msg'].lower()}",
            code="TW1052",
            at=f"{path}: {key}",
            help="correct it; `docs/configuration.md` lists every setting with its meaning",
        ) from error
