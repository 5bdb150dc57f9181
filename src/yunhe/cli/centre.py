"""`yunhe centre`: sites that bring cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from yunhe.cli.connect import client, connection
from yunhe.cli.invocation import current, remote_command
from yunhe.cli.output import Column, emit_json, emit_list, note
from yunhe.cli.texts import when

if TYPE_CHECKING:
    from yunhe.sdk.pool import Centre


@click.group("centre")
def command() -> None:
    """Sites that bring cards."""


COLUMNS: tuple[Column[Centre], ...] = (
    Column("name", lambda centre: centre.name),
    Column("driver", lambda centre: centre.driver),
    Column("state", lambda centre: centre.state),
    Column("last sync", lambda centre: when(centre.last_sync_at)),
    Column("nodes", lambda centre: str(centre.nodes), right=True),
    Column("cards", lambda centre: str(centre.cards), right=True),
    Column("healthy", lambda centre: str(centre.healthy_cards), right=True),
    Column("engines", lambda centre: " ".join(centre.engines)),
    Column("simulated", lambda centre: "simulated" if centre.simulated else "no"),
)


@command.command("list")
@remote_command
def list_centres() -> None:
    """List centres."""
    with client() as api:
        emit_list([*api.centres.list()], COLUMNS, empty="No centres. Make one: yunhe centre create NAME")


@command.command("create")
@click.argument("name")
@click.option("--driver", default="local", show_default=True, help="How workloads run there.")
@remote_command
def create(name: str, driver: str) -> None:
    """Expect a new centre; prints the join token, this once (good for one agent and 24 hours)."""
    with client() as api:
        centre = api.centres.create(name, driver)
    if current().as_json:
        emit_json(centre.model_dump(mode="json"))
        return
    click.echo(centre.join_token)
    note(f"On the centre's head node: yunhe join {connection().url} --driver {driver} --token TOKEN")
