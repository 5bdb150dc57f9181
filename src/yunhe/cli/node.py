"""`yunhe node`: hosts with cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from yunhe.cli.connect import client
from yunhe.cli.invocation import remote_command
from yunhe.cli.output import Column, emit_list
from yunhe.cli.texts import number, size

if TYPE_CHECKING:
    from yunhe.sdk.pool import Node


@click.group("node")
def command() -> None:
    """Hosts with cards."""


COLUMNS: tuple[Column[Node], ...] = (
    Column("name", lambda node: node.name),
    Column("centre", lambda node: node.centre),
    Column("cards", lambda node: str(node.cards), right=True),
    Column("cores", lambda node: number(node.cpu_cores), right=True),
    Column("memory", lambda node: size(node.memory_bytes), right=True),
    Column("system", lambda node: node.os),
)


@command.command("list")
@remote_command
def list_nodes() -> None:
    """List nodes."""
    with client() as api:
        emit_list([*api.pool.nodes()], COLUMNS, empty="No nodes: no centre's agent has joined yet.")
