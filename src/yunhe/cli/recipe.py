"""`yunhe recipe`: signed recipes, and whose are believed."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from yunhe.cli import recipe_verify
from yunhe.cli.connect import client
from yunhe.cli.invocation import current, remote_command
from yunhe.cli.output import Column, done, emit_json, emit_list, emit_rows, note
from yunhe.cli.recipe_text import gain_text, page_of, safe, share_text, short_id
from yunhe.cli.texts import Moment, when

if TYPE_CHECKING:
    from yunhe.sdk.recipes import Change, Recipe, TrustedKey


@click.group("recipe")
def command() -> None:
    """How models are best run on chips: measured, proven, signed."""


COLUMNS: tuple[Column[Recipe], ...] = (
    Column("id", lambda one: short_id(one.id) if sys.stdout.isatty() else one.id),
    Column("model", lambda one: safe(one.model)),
    Column("chip", lambda one: safe(one.chip)),
    Column("engine", lambda one: safe(f"{one.engine} {one.engine_version}")),
    Column("workload", lambda one: safe(one.workload)),
    Column("gain", lambda one: gain_text(one.gains[0].ratio) if one.gains else None),
    Column("fidelity", lambda one: one.fidelity.verdict),
    Column("top-1", lambda one: share_text(one.fidelity.top1_share), right=True),
    Column("made", lambda one: when(one.made_at)),
    Column("from", lambda one: "revoked" if one.revoked_at else one.origin),
)


@command.command("list")
@click.option("--model", help="Only of this model.")
@click.option("--chip", help="Only for this chip.")
@click.option("--engine", help="Only with this engine.")
@remote_command
def list_recipes(model: str | None, chip: str | None, engine: str | None) -> None:
    """List signed recipes, newest first."""
    with client() as api:
        found = [*api.recipes.list(model=model, chip=chip, engine=engine)]
    emit_list(found, COLUMNS, empty="None. Make one: yunhe adapt MODEL --on CENTRE")


@command.command("show")
@click.argument("recipe")
@remote_command
def show(recipe: str) -> None:
    """Show one recipe: what runs where, what it gains, how faithful it stays, and whether it is believed."""
    with client() as api:
        found = api.recipes.get(recipe)
    if current().as_json:
        emit_json(found.model_dump(mode="json"))
        return
    for line in page_of(found):
        click.echo(line)


CHANGES: tuple[Column[Change], ...] = (
    Column("field", lambda one: safe(one.path)),
    Column("change", lambda one: safe(one.line.removeprefix(f"{one.path}: "))),
)


@command.command("diff")
@click.argument("first")
@click.argument("second")
@remote_command
def diff(first: str, second: str) -> None:
    """Compare two recipes, field by field."""
    with client() as api:
        found = api.recipes.diff(first, second)
    if current().as_json:
        emit_json(found.model_dump(mode="json"))
        return
    if not found.changes:
        note("They say the same.")
        return
    emit_rows(CHANGES, [[column.value(one) or "" for column in CHANGES] for one in found.changes])


@command.command("export")
@click.argument("recipe")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
@remote_command
def export(recipe: str, output: Path | None) -> None:
    """Write the signed recipe, byte for byte, for others to import (it is JSON with and without --json)."""
    with client() as api:
        data = api.recipes.envelope(recipe)
    if output is None:
        # No line break after it: that would be another file than the signed one.
        sys.stdout.buffer.write(data)
        return
    output.write_bytes(data)
    note(f"{len(data):,} bytes in {output}. Send it as it is; an editor may change it.")


@command.command("import")
@click.argument("file", type=click.File("rb"))
@remote_command
def import_recipe(file: BinaryIO) -> None:
    """Take in a signed recipe of somebody whose key is trusted; FILE may be - for standard input."""
    with client() as api:
        taken = api.recipes.take_in(file.read())
    done(f"{short_id(taken.id)}: {safe(taken.model)} on {safe(taken.chip)} is kept. Look: yunhe recipe show", taken)


@command.command("revoke")
@click.argument("recipe")
@click.option("--why", required=True, help="The reason, for everybody to read.")
@remote_command
def revoke(recipe: str, why: str) -> None:
    """Refuse a recipe from now on. What runs with it goes on; roll another one out."""
    with client() as api:
        taken_back = api.recipes.revoke(recipe, why)
    done(f"{short_id(taken_back.id)} is revoked.", taken_back)


@command.group("trust")
def trust() -> None:
    """The trust list: whose recipes are believed here."""


KEYS: tuple[Column[TrustedKey], ...] = (
    Column("key id", lambda one: one.key_id),
    Column("name", lambda one: safe(one.name)),
    Column("own", lambda one: "own" if one.own else None),
    Column("since", lambda one: when(one.valid_from) if one.valid_from.timestamp() else None),
    Column("until", lambda one: when(one.valid_until)),
    Column("revoked", lambda one: safe(one.revoked_why) if one.revoked_why else None),
)


@trust.command("list")
@remote_command
def list_keys() -> None:
    """List the keys; the own one's public key is what partners need: --json shows it."""
    with client() as api:
        emit_list([*api.recipe_keys.list()], KEYS, empty="None.")


@trust.command("add")
@click.argument("name")
@click.argument("public_key")
@click.option("--from", "valid_from", type=Moment(), help="Default: now.")
@click.option("--until", "valid_until", type=Moment(), help="Default: until revoked.")
@remote_command
def add(name: str, public_key: str, valid_from: datetime | None, valid_until: datetime | None) -> None:
    """Believe what a key signs; PUBLIC_KEY is 64 hexadecimal digits. Compare the id that is shown with its owner."""
    with client() as api:
        made = api.recipe_keys.add(name, public_key.lower(), valid_from=valid_from, valid_until=valid_until)
    done(f"Recipes of {name} are believed. Its key's id is {made.key_id}: compare it by another way.", made)


@trust.command("remove")
@click.argument("key_id")
@remote_command
def remove(key_id: str) -> None:
    """Believe a key no longer."""
    with client() as api:
        api.recipe_keys.remove(key_id)
    if current().as_json:
        emit_json({"key_id": key_id, "removed": True})
    else:
        note("Recipes of this key are believed no longer.")


@trust.command("revoke")
@click.argument("key_id")
@click.option("--why", required=True, help="The reason, for everybody to read.")
@remote_command
def revoke_key(key_id: str, why: str) -> None:
    """Refuse whatever a key signed, also before."""
    with client() as api:
        done("Whatever this key signed is refused.", api.recipe_keys.revoke(key_id, why))


command.add_command(recipe_verify.command)
