"""The credentials by which this machine's own user reaches its own instance, and what is shown once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from yunhe.core.home import Home
from yunhe.launcher.run_files import write_private


class Credentials(msgspec.Struct, omit_defaults=True):
    """``home.credentials``: keys written by control at its first start, address by the launcher at each."""

    base_url: str | None = None
    api_key: str | None = None
    manage_key: str | None = None


class FirstStart(msgspec.Struct):
    """``home.run/first_start.json``: the admin and the first key, until they were shown."""

    admin_user: str
    admin_password: str
    api_key: str


@dataclass(frozen=True, slots=True)
class Report:
    """What `yunhe up` tells; the admin's password only at the first start."""

    console_url: str
    base_url: str
    api_key: str | None = field(repr=False)
    admin_user: str | None
    admin_password: str | None = field(repr=False)
    data_dir: str
    pid: int


def read_credentials(home: Home) -> Credentials:
    """The file's content; all None when it is not there or cannot be read."""
    try:
        return msgspec.json.decode(home.credentials.read_bytes(), type=Credentials)
    except (OSError, msgspec.DecodeError):
        return Credentials()


def write_address(home: Home, base_url: str) -> None:
    """Tell the CLI where the instance answers now. Raises OSError."""
    credentials = read_credentials(home)
    credentials.base_url = base_url
    write_private(home.credentials, msgspec.json.encode(credentials))


def first_start_path(home: Home) -> Path:
    """Where control leaves what is to be shown once."""
    return home.run / "first_start.json"


def make_report(home: Home, *, console_url: str, base_url: str, pid: int) -> Report:
    """Everything to show; call ``forget_first_start`` once it was shown."""
    first: FirstStart | None = None
    try:
        first = msgspec.json.decode(first_start_path(home).read_bytes(), type=FirstStart)
    except (OSError, msgspec.DecodeError):
        first = None
    return Report(
        console_url=console_url,
        base_url=base_url,
        api_key=first.api_key if first else read_credentials(home).api_key,
        admin_user=first.admin_user if first else None,
        admin_password=first.admin_password if first else None,
        data_dir=str(home.root),
        pid=pid,
    )


def forget_first_start(home: Home) -> None:
    """The password was shown; it is kept nowhere from now on. Raises OSError."""
    first_start_path(home).unlink(missing_ok=True)
