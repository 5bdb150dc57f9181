"""`yunhe engine`: inference engines that centres have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from yunhe.cli.connect import client
from yunhe.cli.invocation import remote_command
from yunhe.cli.output import Column, emit_list

if TYPE_CHECKING:
    from yunhe.sdk.models import Engine


@click.group("engine")
def command() -> None:
    """Inference engines that centres have."""


COLUMNS: tuple[Column[Engine], ...] = (
    Column("name", lambda engine: engine.name),
    Column("version", lambda engine: engine.version),
    Column("centres", lambda engine: " ".join(engine.centres)),
    Column("error", lambda engine: engine.error),
)


@command.command("list")
@remote_command
def list_engines() -> None:
    """List engines."""
    with client() as api:
        emit_list([*api.models.engines()], COLUMNS, empty="No engines: no centre's agent has joined yet.")
