"""`yunhe user`: people who sign in."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from yunhe.cli.connect import client
from yunhe.cli.invocation import remote_command
from yunhe.cli.output import Column, done, emit_list
from yunhe.cli.texts import when

if TYPE_CHECKING:
    from yunhe.sdk.users import User


@click.group("user")
def command() -> None:
    """People who sign in (platform admin)."""


COLUMNS: tuple[Column[User], ...] = (
    Column("name", lambda user: user.name),
    Column("roles", lambda user: " ".join(user.roles)),
    Column("state", lambda user: "disabled" if user.disabled else "ok"),
    Column("made", lambda user: when(user.created_at)),
    Column("id", lambda user: user.id),
)


@command.command("list")
@remote_command
def list_users() -> None:
    """List users."""
    with client() as api:
        emit_list([*api.users.list()], COLUMNS, empty="No users. Make one: yunhe user create NAME")


@command.command("create")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option(
    "--role", "roles", multiple=True, type=click.Choice(["platform_admin", "centre_operator"]),
    help="Platform-wide role; repeatable (default: none).",
)  # fmt: skip
@remote_command
def create(name: str, password_stdin: bool, roles: tuple[str, ...]) -> None:
    """Make a user; asks for the password."""
    password = read_password(password_stdin, confirm=True)
    with client() as api:
        user = api.users.create(name, password, roles=roles)
    done(f"Made user {user.name}. Let them into a project: yunhe project add-member PROJECT {user.name}", user)


def read_password(from_stdin: bool, *, confirm: bool) -> str:
    """A password from standard input or typed unseen; never from the command line, which others can read."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask for the password; use --password-stdin")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True))
