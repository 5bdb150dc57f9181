"""`yunhe engine`: inference engines that centres have, and installing more on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from yunhe.cli.connect import client
from yunhe.cli.invocation import current, local_command, remote_command
from yunhe.cli.output import Column, cells, emit_json, emit_list, emit_rows, note

if TYPE_CHECKING:
    from yunhe.sdk.models import Engine


@click.group("engine")
def command() -> None:
    """Inference engines: what centres have, and what can be installed here."""


COLUMNS: tuple[Column[Engine], ...] = (
    Column("name", lambda engine: engine.name),
    Column("version", lambda engine: engine.version),
    Column("centres", lambda engine: " ".join(engine.centres)),
    Column("error", lambda engine: engine.error),
)
INSTALLABLE = cells("name", "version", "installed", "disk", "takes", "what", right=("disk", "takes"))


@command.command("list")
@remote_command
def list_engines() -> None:
    """List the engines of all centres."""
    with client() as api:
        emit_list([*api.models.engines()], COLUMNS, empty="No engines: no centre's agent has joined yet.")


@command.command("available")
@local_command
def list_available() -> None:
    """List the engines that can be installed on this machine (needs no server)."""
    from yunhe.cli.installing import ask_installer

    found = [*ask_installer("list")]
    if current().as_json:
        emit_json([{name: value for name, value in one.items() if name != "event"} for one in found])
        return
    emit_rows(INSTALLABLE, [_row(one) for one in found])


@command.command("install")
@click.argument("name")
@local_command
def install(name: str) -> None:
    """Install an engine into this machine's data directory, for exactly this processor.

    The agent here offers it within seconds; adapt a model to it with `yunhe adapt`.
    """
    from yunhe.cli.installing import ask_installer, follow

    done = follow(ask_installer("install", name))
    if current().as_json:
        emit_json({name: value for name, value in done.items() if name != "event"})
        return
    note(f"Installed {done['name']} {done['version']} in {done['took_s']:.0f} s ({_megabytes(done['size_bytes'])}).")
    note("Next: yunhe adapt MODEL --on local")


@command.command("remove")
@click.argument("name")
@local_command
def remove(name: str) -> None:
    """Remove an engine that was installed on this machine."""
    from yunhe.cli.installing import ask_installer

    for _ in ask_installer("remove", name):
        pass
    note(f"Removed {name}.")


def _row(one: dict[str, Any]) -> list[str]:
    takes = f"{one['expected_s'] / 60:.0f} min" if one["expected_s"] >= 90 else f"{one['expected_s']:.0f} s"
    shown = [one["name"], one["version"], one["installed"], _megabytes(one["disk_bytes"]), takes, one["summary"]]
    return [one["name"], "", "", "", "", one["refusal"]] if one["refusal"] else shown


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.0f} MB"
