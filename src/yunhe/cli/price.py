"""`yunhe price`: what models' tokens cost."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from yunhe.cli.connect import client
from yunhe.cli.invocation import remote_command
from yunhe.cli.output import Column, done, emit_list
from yunhe.cli.texts import Credits, Moment, amount, when

if TYPE_CHECKING:
    from yunhe.sdk.prices import Price


@click.group("price")
def command() -> None:
    """Prices of models' tokens, in credits per million."""


COLUMNS: tuple[Column[Price], ...] = (
    Column("model", lambda price: price.model),
    Column("input credits/Mtok", lambda price: amount(price.input_micro_per_mtok), right=True),
    Column("output credits/Mtok", lambda price: amount(price.output_micro_per_mtok), right=True),
    Column("from", lambda price: when(price.effective_from)),
    Column("id", lambda price: price.id),
)


@command.command("list")
@click.option("--model", help="Only of this model.")
@remote_command
def list_prices(model: str | None) -> None:
    """List prices, newest first."""
    with client() as api:
        emit_list([*api.prices.list(model)], COLUMNS, empty="No prices: everything is free of charge.")


@command.command("set")
@click.argument("model")
@click.option("--input", "input_micro", type=Credits(), required=True, help="Credits per million prompt tokens.")
@click.option("--output", "output_micro", type=Credits(), required=True, help="Credits per million completion tokens.")
@click.option("--from", "effective_from", type=Moment(), help="In force from then on (default: now).")
@remote_command
def set_price(model: str, input_micro: int, output_micro: int, effective_from: datetime | None) -> None:
    """Set a model's price (platform admin); what was used before keeps its price."""
    with client() as api:
        price = api.prices.set(
            model,
            input_micro_per_mtok=input_micro,
            output_micro_per_mtok=output_micro,
            effective_from=effective_from,
        )
    texts = (amount(price.input_micro_per_mtok), amount(price.output_micro_per_mtok))
    done(f"{price.model} costs {texts[0]} / {texts[1]} credits per million tokens (input / output).", price)
