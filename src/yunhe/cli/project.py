"""`yunhe project`: what keys, limits, usage and credit belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from yunhe.cli.connect import client
from yunhe.cli.invocation import remote_command
from yunhe.cli.output import Column, done, emit_list, emit_record
from yunhe.cli.texts import amount, number, when

if TYPE_CHECKING:
    from yunhe.sdk.projects import Membership, Project


@click.group("project")
def command() -> None:
    """Projects, their members and limits."""


COLUMNS: tuple[Column[Project], ...] = (
    Column("name", lambda project: project.name),
    Column("credits", lambda project: amount(project.balance_micro), right=True),
    Column("available", lambda project: amount(project.available_micro), right=True),
    Column("rpm", lambda project: number(project.rpm_limit), right=True),
    Column("tpm", lambda project: number(project.tpm_limit), right=True),
    Column("suspended", lambda project: project.suspended_reason),
    Column("made", lambda project: when(project.created_at)),
    Column("id", lambda project: project.id),
)
MEMBER_COLUMNS: tuple[Column[Membership], ...] = (
    Column("user", lambda membership: membership.user.name),
    Column("role", lambda membership: membership.role),
    Column("id", lambda membership: membership.id),
)


@command.command("list")
@remote_command
def list_projects() -> None:
    """List projects."""
    with client() as api:
        emit_list([*api.projects.list()], COLUMNS, empty="No projects. Make one: yunhe project create NAME")


@command.command("show")
@click.argument("project")
@remote_command
def show(project: str) -> None:
    """Show one project, by name or id."""
    with client() as api:
        emit_record(api.projects.get(project), COLUMNS)


@command.command("create")
@click.argument("name")
@click.option("--organisation", help="Organisation, by id (default: the default one).")
@click.option("--rpm", type=click.IntRange(min=1), help="Requests a minute.")
@click.option("--tpm", type=click.IntRange(min=1), help="Tokens a minute.")
@remote_command
def create(name: str, organisation: str | None, rpm: int | None, tpm: int | None) -> None:
    """Make a project (platform admin)."""
    with client() as api:
        project = api.projects.create(name, organisation_id=organisation, rpm_limit=rpm, tpm_limit=tpm)
    done(f"Made project {project.name}. Give it credit: yunhe balance add {project.name} CREDITS", project)


class Limit(click.ParamType[str]):
    """A whole number of one or more, or 'none'."""

    name = "limit"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check it. Raises click.BadParameter."""
        text = str(value)
        if text != "none" and not (text.isdecimal() and int(text) > 0):
            self.fail(f"{text!r} is no limit; write a whole number, or none", param, ctx)
        return text


@command.command("limits")
@click.argument("project")
@click.option("--rpm", type=Limit(), help="Requests a minute, or none.")
@click.option("--tpm", type=Limit(), help="Tokens a minute, or none.")
@remote_command
def limits(project: str, rpm: str | None, tpm: str | None) -> None:
    """Set a project's limits (platform admin); without options, show them."""
    changes = {
        field: None if text == "none" else int(text)
        for field, text in (("rpm_limit", rpm), ("tpm_limit", tpm))
        if text is not None
    }
    with client() as api:
        if not changes:
            emit_record(api.projects.get(project), COLUMNS)
            return
        changed = api.projects.change(project, **changes)
    texts = [f"{name} {limit or 'none'}" for name, limit in (("rpm", changed.rpm_limit), ("tpm", changed.tpm_limit))]
    done(f"{changed.name}: {', '.join(texts)}.", changed)


@command.command("members")
@click.argument("project")
@remote_command
def members(project: str) -> None:
    """List who belongs to a project."""
    with client() as api:
        emit_list([*api.projects.members(project)], MEMBER_COLUMNS, empty="Nobody yet.")


@command.command("add-member")
@click.argument("project")
@click.argument("user")
@click.option("--role", type=click.Choice(["member", "project_owner"]), default="member", show_default=True)
@remote_command
def add_member(project: str, user: str, role: str) -> None:
    """Add a user to a project, or change the role."""
    with client() as api:
        membership = api.projects.add_member(project, user, role)
    done(f"{membership.user.name} is {membership.role} of {project}.", membership)
