"""`yunhe config`: the configuration, and where each value comes from."""

from __future__ import annotations

import sys

import click

from yunhe.cli.connect import configuration
from yunhe.cli.invocation import current, local_command
from yunhe.cli.output import emit_json


@click.group("config")
def command() -> None:
    """The configuration, and where each value comes from."""


@command.command("show")
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
@local_command
def show(origin: bool) -> None:
    """Show the values in force: flag > YUNHE_* > ./yunhe.toml > ~/.config/yunhe/config.toml > default."""
    resolved = configuration()
    # A database's URL may hold a password: pydantic shows stars instead.
    values = resolved.settings.model_dump(mode="json")
    if current().as_json:
        with_origin = {name: {"value": value, "origin": resolved.origins[name]} for name, value in values.items()}
        emit_json(with_origin if origin else values)
        return
    terminal = sys.stdout.isatty()
    for name, value in values.items():
        text = "" if value is None else str(value)
        row = [name, text, *([resolved.origins[name]] if origin else [])]
        click.echo(f"{row[0]:16} {row[1] or '-':44} {''.join(row[2:])}".rstrip() if terminal else "\t".join(row))
