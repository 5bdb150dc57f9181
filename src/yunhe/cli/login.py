"""`yunhe login`: sign in to an instance elsewhere and keep a key for it."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from yunhe.cli.connect import client_of, connection, profile_path
from yunhe.cli.errors import BadFile
from yunhe.cli.invocation import current, remote_command
from yunhe.cli.output import emit_json, note
from yunhe.cli.user import read_password

if TYPE_CHECKING:
    from yunhe.sdk.sessions import Me


@click.command("login")
@click.argument("address", metavar="URL", required=False)
@click.option("--user", help="User name (asked for when absent).")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--key-stdin", is_flag=True, help="Keep the API key that standard input holds, without a password.")
@click.option("--forget", is_flag=True, help="Forget the kept key instead.")
@remote_command
def command(address: str | None, user: str | None, password_stdin: bool, key_stdin: bool, forget: bool) -> None:
    """Sign in at URL and keep a key of one's own, readable only by oneself.

    The password is used once; what is kept is an API key that `yunhe key revoke` ends.
    """
    if forget:
        profile_path().unlink(missing_ok=True)
        note("Forgotten. The key itself still works until it is revoked: yunhe key revoke PREFIX")
        return
    url = address or current().url or connection().url
    if key_stdin or current().key:
        key = current().key or sys.stdin.readline().strip()
    else:
        key = _make_key(url, user, password_stdin)
    me, root = _check(url, key)
    _keep(profile_path(), root, key)
    if current().as_json:
        emit_json({"url": root, "user": me.name, "roles": me.roles, "kept_in": str(profile_path())})
    else:
        note(f"Signed in at {root} as {me.name}; the key is kept in {profile_path()}.")


def _make_key(url: str, user: str | None, password_stdin: bool) -> str:
    if user is None:
        if not sys.stdin.isatty():
            raise click.UsageError("no terminal to ask for the user; use --user")
        user = str(click.prompt("User", err=True))
    password = read_password(password_stdin, confirm=False)
    with client_of(url, None) as nobody:
        session = nobody.sessions.create(user, password)
    with client_of(url, session.token) as signed_in:
        key = signed_in.keys.create(f"yunhe login on {platform.node()}"[:100], scopes=["inference", "read", "manage"])
        signed_in.sessions.end()
    return key.secret


def _check(url: str, key: str) -> tuple[Me, str]:
    with client_of(url, key) as api:
        return api.sessions.me(), api.root


def _keep(path: Path, url: str, key: str) -> None:
    content = json.dumps({"base_url": url, "api_key": key, "manage_key": key})
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        draft.replace(path)
    except OSError as error:
        raise BadFile(f"cannot keep the key in {path}: {error.strerror}", next_step="Use YUNHE_API_KEY.") from None
