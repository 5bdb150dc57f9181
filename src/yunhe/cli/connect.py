"""Which instance a command talks to, and with which key."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from yunhe.cli.errors import NoInstance
from yunhe.cli.invocation import current

if TYPE_CHECKING:
    from yunhe.launcher.config import Resolved
    from yunhe.sdk import Client


@dataclass(frozen=True, slots=True)
class Connection:
    """An instance's address and keys: ``manage_key`` for /api/v1, ``api_key`` for /v1."""

    url: str
    api_key: str | None = field(repr=False)
    manage_key: str | None = field(repr=False)
    #: Where it was found, for people.
    source: str


def configuration() -> Resolved:
    """The configuration in force, flags aside. Raises BadConfig."""
    from yunhe.launcher.config import resolve

    return resolve()


def profile_path() -> Path:
    """Where `yunhe login` keeps the key, 0600."""
    from yunhe.launcher.config import user_dir

    return user_dir() / "credentials.json"


def connection() -> Connection:
    """The instance to talk to. Raises NoInstance.

    Address and key: flags, then the environment, then stored credentials: those of a data directory that was named
    (YUNHE_HOME or configuration), of `yunhe login`, of the default data directory. A stored key is only ever sent to
    the address that it was stored for.
    """
    invocation = current()
    resolved = configuration()
    settings = resolved.settings
    url = invocation.url or settings.url
    key = invocation.key or os.environ.get("YUNHE_API_KEY")
    stored = [found for path in _stores(resolved) if (found := _read(path)) is not None]
    if url:
        match = next((found for found in stored if _origin(found.url) == _origin(url)), None)
        return Connection(
            url=url,
            api_key=key or (match.api_key if match else None),
            manage_key=key or (match.manage_key if match else None),
            source="--url" if invocation.url else resolved.origins["url"],
        )
    if not stored:
        raise NoInstance(
            f"no instance is known: none has been started in {settings.home}",
            next_step="Start one with `yunhe up`, sign in elsewhere with `yunhe login URL`, or give --url and --key.",
        )
    first = stored[0]
    return Connection(first.url, key or first.api_key, key or first.manage_key, first.source)


def client(timeout_s: float = 30.0) -> Client:
    """A client for /api/v1 that waits so long for an answer. Raises NoInstance."""
    found = connection()
    return client_of(found.url, found.manage_key or found.api_key, timeout_s)


def chat_client() -> Client:
    """A client for /v1, with the key that may call models. Raises NoInstance."""
    found = connection()
    return client_of(found.url, found.api_key or found.manage_key)


def client_of(url: str, key: str | None, timeout_s: float = 30.0) -> Client:
    """A client for that address. Raises click.UsageError when it is none."""
    from yunhe.sdk import Client

    try:
        return Client(url, key, timeout_s=timeout_s)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _stores(resolved: Resolved) -> list[Path]:
    from yunhe.core.home import Home

    of_home = Home(resolved.settings.home).credentials
    named = resolved.origins["home"] != "default" or bool(os.environ.get("YUNHE_HOME"))
    return [of_home, profile_path()] if named else [profile_path(), of_home]


def _read(path: Path) -> Connection | None:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(stored, dict) or not isinstance(stored.get("base_url"), str):
        return None
    keys = (stored.get("api_key"), stored.get("manage_key"))
    api_key, manage_key = (str(key) if key else None for key in keys)
    return Connection(stored["base_url"], api_key, manage_key, str(path))


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)
