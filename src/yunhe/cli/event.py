"""`yunhe event`: what happened, and why."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import click

from yunhe.cli.connect import client
from yunhe.cli.invocation import remote_command
from yunhe.cli.output import Column, emit_list
from yunhe.cli.texts import when

if TYPE_CHECKING:
    from yunhe.sdk.deployments import Event


@click.group("event")
def command() -> None:
    """What happened, and why."""


COLUMNS: tuple[Column[Event], ...] = (
    Column("when", lambda event: when(event.at)),
    Column("severity", lambda event: event.severity),
    Column("subject", lambda event: f"{event.subject_kind} {event.subject_id}"),
    Column("what", lambda event: event.kind),
    Column("why", lambda event: event.reason),
)


@command.command("list")
@click.option("--subject", help="Only of this deployment, replica, centre ... (an id).")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@remote_command
def list_events(subject: str | None, limit: int) -> None:
    """List events, newest first."""
    with client() as api:
        emit_list([*islice(api.events.list(subject), limit)], COLUMNS, empty="Nothing has happened yet.")
