"""The configuration of one instance, and where each value comes from.

Flag > ``YUNHE_*`` in the environment > ``./yunhe.toml`` > ``~/.config/yunhe/config.toml`` > default.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from yunhe.core.home import default_home
from yunhe.core.units import MIB
from yunhe.launcher.errors import BadConfig

ENV_PREFIX: Final = "YUNHE_"


def project_file() -> Path:
    """The file of the directory that the command runs in."""
    return Path("yunhe.toml")


def user_dir() -> Path:
    """Where a user's own files lie: ``$XDG_CONFIG_HOME/yunhe`` or ``~/.config/yunhe``."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "yunhe"


def user_file() -> Path:
    """The user's own configuration file."""
    return user_dir() / "config.toml"


class Settings(BaseSettings):
    """Everything that can be configured for `yunhe up` and the commands beside it."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    home: Path = Field(default_factory=default_home, description="data directory")
    host: str = Field(default="127.0.0.1", min_length=1, description="address that the gateway listens on")
    port: int = Field(default=8420, ge=0, le=65535, description="port that the gateway listens on; 0 takes a free one")
    workers: int = Field(default=2, ge=1, le=64, description="gateway workers")
    timeout_s: float = Field(default=180.0, gt=0, le=3600, description="seconds to become ready in")
    database_url: SecretStr | None = Field(default=None, description="PostgreSQL; without it SQLite in the home")
    log_bytes_max: int = Field(default=10 * MIB, ge=64 * 1024, description="size at which a log file is rotated")
    log_files_max: int = Field(default=3, ge=1, le=100, description="rotated files kept per log")
    url: str | None = Field(default=None, description="instance that commands talk to")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, the project's file, the user's file."""
        files = (TomlConfigSettingsSource(settings_cls, path) for path in (project_file(), user_file()))
        return (init_settings, env_settings, *files)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings in force, and per name the place that set it."""

    settings: Settings
    origins: dict[str, str]


def resolve(flags: Mapping[str, object] | None = None) -> Resolved:
    """Read every source; ``flags`` that are None count as not given. Raises BadConfig."""
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    files = {str(path): _read(path) for path in (project_file(), user_file())}
    try:
        settings = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        where = _origin(name, given, files)
        raise BadConfig(f"{name} ({where}): {problem['msg']}") from None
    settings = settings.model_copy(update={"home": settings.home.expanduser().absolute()})
    return Resolved(settings, {name: _origin(name, given, files) for name in Settings.model_fields})


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadConfig(f"{path} cannot be read: {error}", next_step=f"Correct or remove {path}.") from None


def _origin(name: str, given: Mapping[str, object], files: Mapping[str, Mapping[str, object]]) -> str:
    if name in given:
        return f"flag --{name.removesuffix('_s').replace('_', '-')}"
    variable = ENV_PREFIX + name.upper()
    if os.environ.get(variable):
        return f"environment {variable}"
    for path, values in files.items():
        if name in values:
            return path
    return "default"
