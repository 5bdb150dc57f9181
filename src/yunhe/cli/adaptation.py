"""`yunhe adaptation`: searches for the best way to run a model, under way or ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from yunhe.cli.connect import client
from yunhe.cli.deployment import settings_text
from yunhe.cli.invocation import remote_command
from yunhe.cli.output import Column, done, emit_list, emit_record
from yunhe.cli.recipe_text import safe, short_id
from yunhe.cli.texts import when

if TYPE_CHECKING:
    from yunhe.sdk.adaptations import Adaptation, Workload


@click.group("adaptation")
def command() -> None:
    """Searches for the best way to run a model on a centre's cards."""


COLUMNS: tuple[Column[Adaptation], ...] = (
    Column("id", lambda one: one.id),
    Column("model", lambda one: one.model),
    Column("centre", lambda one: one.centre),
    Column("state", lambda one: one.state),
    Column("used", lambda one: f"{one.used_s:.0f} of {one.spec.duration_s:.0f} s", right=True),
    Column("recipe", lambda one: short_id(one.recipe_id) if one.recipe_id else None),
    Column("age", lambda one: when(one.created_at)),
    Column("activity", lambda one: safe(one.activity)),
)
FIELDS: tuple[Column[Adaptation], ...] = (
    Column("id", lambda one: one.id),
    Column("model", lambda one: one.model),
    Column("where", lambda one: f"{one.centre}: {', '.join(one.cards)} ({one.chip})"),
    Column("state", lambda one: f"{one.state}{', cancelled by somebody' if one.cancel_asked else ''}"),
    Column("activity", lambda one: safe(one.activity)),
    Column("state since", lambda one: when(one.state_since)),
    Column("used", lambda one: f"{one.used_s:.0f} of {one.spec.duration_s:.0f} s"),
    Column("journal", lambda one: f"{one.entries} entries"),
    Column("workload", lambda one: _workload(one.spec.workload)),
    Column("use class", lambda one: one.spec.use_class),
    Column("engines", lambda one: ", ".join(one.spec.engines) or "all of the centre"),
    Column("baseline", lambda one: _baseline(one)),
    Column("recipe", lambda one: one.recipe_id),
    Column("asked for", lambda one: when(one.created_at)),
    Column("ended", lambda one: when(one.finished_at)),
)


def _baseline(one: Adaptation) -> str:
    settings = settings_text(one.baseline.settings)
    return f"{one.baseline.name}: {one.baseline_engine} {settings}".rstrip()


def _workload(workload: Workload) -> str:
    shapes = " or ".join(f"{one.input_tokens}+{one.output_tokens}" for one in workload.requests)
    loads = " and ".join(str(count) for count in workload.concurrencies)
    return f"{workload.name}: {shapes} tokens, {loads} in flight"


@command.command("list")
@click.option("--model", help="Only of this model.")
@click.option("--centre", help="Only in this centre.")
@remote_command
def list_adaptations(model: str | None, centre: str | None) -> None:
    """List adaptations, newest first."""
    with client() as api:
        found = [*api.adaptations.list(model=model, centre=centre)]
    emit_list(found, COLUMNS, empty="None. Start one: yunhe adapt MODEL --on CENTRE")


@command.command("show")
@click.argument("adaptation")
@remote_command
def show(adaptation: str) -> None:
    """Show one adaptation, and what is under way."""
    with client() as api:
        emit_record(api.adaptations.get(adaptation), FIELDS)


@command.command("cancel")
@click.argument("adaptation")
@remote_command
def cancel(adaptation: str) -> None:
    """Stop an adaptation; what was measured stays."""
    with client() as api:
        asked = api.adaptations.cancel(adaptation)
    words = "is cancelled" if asked.ended else "stops as soon as its centre has heard of it"
    done(f"{asked.id} {words}.", asked)
