"""`yunhe card`: accelerators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from yunhe.cli.connect import client
from yunhe.cli.errors import CliError
from yunhe.cli.invocation import remote_command
from yunhe.cli.output import Column, emit_list, emit_record
from yunhe.cli.texts import number, size

if TYPE_CHECKING:
    from yunhe.sdk.pool import Card


class NoCard(CliError):
    """There is no such card."""

    code = "not_found"


@click.group("card")
def command() -> None:
    """Accelerators: health, speed, use."""


def _speeds(card: Card) -> str:
    return "; ".join(
        f"{name} {number(speed.value, 1)} {speed.unit} ({speed.source})" for name, speed in sorted(card.speeds.items())
    )


COLUMNS: tuple[Column[Card], ...] = (
    Column("uid", lambda card: card.uid),
    Column("centre", lambda card: card.centre),
    Column("node", lambda card: card.node),
    Column("chip", lambda card: card.chip),
    Column("model", lambda card: card.model_name),
    Column("memory", lambda card: size(card.memory_bytes), right=True),
    Column("health", lambda card: card.health),
    Column("replicas", lambda card: str(len(card.used_by)), right=True),
    Column("simulated", lambda card: "simulated" if card.simulated else "no"),
)
FIELDS: tuple[Column[Card], ...] = (
    *COLUMNS,
    Column("maker", lambda card: card.maker),
    Column("kind", lambda card: card.kind),
    Column("cores", lambda card: number(card.cores)),
    Column("features", lambda card: " ".join(card.features)),
    Column("speeds", _speeds),
    Column("why", lambda card: card.health_reason),
    Column("driver", lambda card: card.driver_version),
    Column("used by", lambda card: " ".join(card.used_by)),
)


@command.command("list")
@remote_command
def list_cards() -> None:
    """List cards."""
    with client() as api:
        emit_list([*api.pool.cards()], COLUMNS, empty="No cards: no centre's agent has joined yet.")


@command.command("show")
@click.argument("uid")
@remote_command
def show(uid: str) -> None:
    """Show one card: features, measured speeds, use."""
    with client() as api:
        card = next((card for card in api.pool.cards() if card.uid == uid), None)
    if card is None:
        raise NoCard(f"there is no card {uid}", next_step="List them: yunhe card list")
    emit_record(card, FIELDS)
