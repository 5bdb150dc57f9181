"""`yunhe replica`: running copies of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from yunhe.cli.connect import client
from yunhe.cli.invocation import remote_command
from yunhe.cli.output import Column, emit_list
from yunhe.cli.texts import number, when

if TYPE_CHECKING:
    from yunhe.sdk.deployments import Replica


@click.group("replica")
def command() -> None:
    """Running copies of models."""


COLUMNS: tuple[Column[Replica], ...] = (
    Column("id", lambda replica: replica.id),
    Column("deployment", lambda replica: replica.deployment),
    Column("state", lambda replica: replica.state),
    Column("since", lambda replica: when(replica.state_since)),
    Column("centre", lambda replica: replica.centre),
    Column("node", lambda replica: replica.node),
    Column("chip", lambda replica: replica.chip),
    Column("engine", lambda replica: replica.engine),
    Column("recipe", lambda replica: replica.recipe),
    Column("slots", lambda replica: str(replica.slots), right=True),
    Column("tokens/s", lambda replica: number(replica.tokens_per_s, 1), right=True),
    Column("pid", lambda replica: str(replica.pid) if replica.pid else None, right=True),
    Column("reason", lambda replica: replica.reason),
)


@command.command("list")
@click.option("--deployment", help="Only of this deployment.")
@click.option("--all", "ended", is_flag=True, help="Ended ones too.")
@remote_command
def list_replicas(deployment: str | None, ended: bool) -> None:
    """List replicas."""
    with client() as api:
        records = [*api.replicas.list(deployment, ended=ended)]
        emit_list(records, COLUMNS, empty="No replicas. Make a deployment: yunhe deployment create MODEL")
