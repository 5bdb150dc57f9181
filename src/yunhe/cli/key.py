"""`yunhe key`: API keys."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from yunhe.cli.connect import client
from yunhe.cli.invocation import current, remote_command
from yunhe.cli.output import Column, done, emit_json, emit_list, emit_record, note
from yunhe.cli.texts import Duration, number, when

if TYPE_CHECKING:
    from yunhe.sdk.keys import Key


@click.group("key")
def command() -> None:
    """API keys."""


def _state(key: Key) -> str:
    from datetime import UTC, datetime

    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at and key.expires_at <= datetime.now(UTC) else "ok"


COLUMNS: tuple[Column[Key], ...] = (
    Column("prefix", lambda key: key.prefix),
    Column("name", lambda key: key.name),
    Column("state", _state),
    Column("scopes", lambda key: " ".join(key.scopes)),
    Column("models", lambda key: " ".join(key.models) if key.models else "all"),
    Column("rpm", lambda key: number(key.rpm_limit), right=True),
    Column("tpm", lambda key: number(key.tpm_limit), right=True),
    Column("made", lambda key: when(key.created_at)),
    Column("expires", lambda key: when(key.expires_at)),
    Column("by", lambda key: key.created_by),
)
FIELDS: tuple[Column[Key], ...] = (
    *COLUMNS,
    Column("revoked", lambda key: when(key.revoked_at)),
    Column("project", lambda key: key.project_id),
    Column("id", lambda key: key.id),
)


@command.command("list")
@click.option("--project", help="Project, by name or id.")
@remote_command
def list_keys(project: str | None) -> None:
    """List keys (never their secrets)."""
    with client() as api:
        emit_list([*api.keys.list(project)], COLUMNS, empty="No keys. Make one: yunhe key create NAME")


@command.command("show")
@click.argument("key")
@remote_command
def show(key: str) -> None:
    """Show one key, by prefix or id."""
    with client() as api:
        emit_record(api.keys.get(key), FIELDS)


@command.command("create")
@click.argument("name")
@click.option("--project", help="Project, by name or id.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(["inference", "read", "manage"]),
    help="What it is good for; repeatable (default: inference and read).",
)  # fmt: skip
@click.option("--expires", "expires_in_s", type=Duration(), help="Lifetime: 30d, 12h (default: for ever).")
@click.option("--rpm", type=click.IntRange(min=1), help="Requests a minute.")
@click.option("--tpm", type=click.IntRange(min=1), help="Tokens a minute.")
@click.option("--model", "models", multiple=True, help="A model that it may call; repeatable (default: all).")
@remote_command
def create(
    name: str,
    project: str | None,
    scopes: tuple[str, ...],
    expires_in_s: float | None,
    rpm: int | None,
    tpm: int | None,
    models: tuple[str, ...],
) -> None:
    """Make a key and print its secret, this once."""
    with client() as api:
        key = api.keys.create(
            name,
            project=project,
            scopes=scopes or None,
            expires_in_s=expires_in_s,
            rpm_limit=rpm,
            tpm_limit=tpm,
            models=models or None,
        )
    if current().as_json:
        emit_json(key.model_dump(mode="json"))
        return
    click.echo(key.secret)
    if sys.stdout.isatty():
        note(f"This is shown once. Revoke it: yunhe key revoke {key.prefix}")


@command.command("revoke")
@click.argument("key")
@remote_command
def revoke(key: str) -> None:
    """Revoke a key, by prefix or id; it stops working within two seconds."""
    with client() as api:
        revoked = api.keys.revoke(key)
    done(f"Revoked {revoked.prefix} ({revoked.name}).", revoked)
