"""`yunhe balance`: a project's credit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from yunhe.cli.connect import client
from yunhe.cli.invocation import remote_command
from yunhe.cli.output import Column, done, emit_record
from yunhe.cli.texts import Credits, amount

if TYPE_CHECKING:
    from yunhe.sdk.ledger import Balance

FIELDS: tuple[Column[Balance], ...] = (
    Column("project", lambda balance: balance.project),
    Column("balance", lambda balance: amount(balance.balance_micro)),
    Column("leased to gateways", lambda balance: amount(balance.leased_micro)),
    Column("available", lambda balance: amount(balance.available_micro)),
    Column("spent", lambda balance: amount(balance.spent_micro)),
    Column("credited", lambda balance: amount(balance.credited_micro)),
)


@click.group("balance", invoke_without_command=True)
@click.option("--project", help="Project, by name or id.")
@remote_command
@click.pass_context
def command(context: click.Context, project: str | None) -> None:
    """A project's credit; alone, shows it."""
    if context.invoked_subcommand is None:
        _show(project)


@command.command("show")
@click.argument("project", required=False)
@remote_command
def show(project: str | None) -> None:
    """Show a project's credit."""
    _show(project)


@command.command("add", context_settings={"ignore_unknown_options": True})
@click.argument("project")
@click.argument("credits", type=Credits())
@click.option("--memo", default="added with yunhe balance add", help="Why.")
@click.option("--reference", help="Posts only once for the same reference.")
@remote_command
def add(project: str, credits: int, memo: str, reference: str | None) -> None:
    """Add CREDITS to PROJECT, or take them with a negative number (platform admin)."""
    if credits == 0:
        raise click.BadParameter("zero changes nothing", param_hint="CREDITS")
    with client() as api:
        balance = api.ledger.credit(project, credits, memo, reference=reference)
    done(f"{balance.project} has {amount(balance.balance_micro)} credits.", balance)


def _show(project: str | None) -> None:
    with client() as api:
        emit_record(api.ledger.balance(project), FIELDS)
