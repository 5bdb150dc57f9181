"""`yunhe model`: the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from yunhe.cli.architectures import list_architectures, show_architecture
from yunhe.cli.connect import client
from yunhe.cli.invocation import remote_command
from yunhe.cli.output import Column, done, emit_list, emit_record, note, waiting
from yunhe.cli.texts import amount, number, size, when

if TYPE_CHECKING:
    from yunhe.sdk.models import Model

_NO_WEIGHTS = "none"
#: The instance reads all bytes once, for their digest; its door waits no longer.
_READING_S = 900.0


@click.group("model")
def command() -> None:
    """The catalogue of models."""


command.add_command(list_architectures)
command.add_command(show_architecture)


def _price(model: Model) -> str | None:
    if model.price is None:
        return None
    return f"{amount(model.price.input_micro_per_mtok)} / {amount(model.price.output_micro_per_mtok)}"


COLUMNS: tuple[Column[Model], ...] = (
    Column("name", lambda model: model.name),
    Column("architecture", lambda model: model.architecture),
    Column("parameters", lambda model: number(model.parameters), right=True),
    Column("quantisation", lambda model: model.quantisation),
    Column("context", lambda model: number(model.context_length), right=True),
    Column("size", lambda model: size(model.size_bytes), right=True),
    Column("licence", lambda model: model.licence),
    Column("deployments", lambda model: " ".join(model.deployments)),
    Column("credits/Mtok in / out", _price),
)
FIELDS: tuple[Column[Model], ...] = (
    *COLUMNS,
    Column("capabilities", lambda model: " ".join(model.capabilities)),
    Column("chat template", lambda model: "yes" if model.has_chat_template else "no"),
    Column("weights", lambda model: model.location),
    Column("sha256", lambda model: model.sha256),
    Column("shape", lambda model: " ".join(f"{name}={value}" for name, value in sorted(model.shape.items()))),
    Column("owned by", lambda model: model.owned_by),
    Column("source", lambda model: model.source),
    Column("added", lambda model: when(model.created_at)),
    Column("id", lambda model: model.id),
)


@command.command("list")
@remote_command
def list_models() -> None:
    """List the catalogue."""
    with client() as api:
        emit_list([*api.models.list()], COLUMNS, empty="No models. Add one: yunhe model add PATH")


@command.command("show")
@click.argument("name")
@remote_command
def show(name: str) -> None:
    """Show one model."""
    with client() as api:
        emit_record(api.models.get(name), FIELDS)


@command.command("add")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--name", help="Name to serve it under (default: from the file).")
@click.option("--licence", help="Its licence, as SPDX says it.")
@click.option("--probe-prompt", help="A prompt with a known answer; each replica must give it.")
@click.option("--probe-expect", help="Regular expression that the answer must match.")
@click.option("--external", is_flag=True, help="Only external servers hold it: give --name and --context-length.")
@click.option("--context-length", type=click.IntRange(min=1), help="Tokens, of an external model.")
@remote_command
def add(
    path: Path | None,
    name: str | None,
    licence: str | None,
    probe_prompt: str | None,
    probe_expect: str | None,
    external: bool,
    context_length: int | None,
) -> None:
    """Take a model into the catalogue.

    PATH lies on the instance's own machine: a GGUF file; a directory with config.json, tokenizer and safetensors
    weights; or a config.json alone, which can be planned (yunhe plan) and not deployed.
    """
    if external:
        if path is not None or name is None or context_length is None:
            raise click.UsageError("an external model takes --name and --context-length, and no PATH")
        with client() as api:
            model = api.models.add_external(name, context_length=context_length, licence=licence)
    else:
        if path is None:
            raise click.UsageError(
                "give the PATH of a GGUF file, of a model's directory or of its config.json; or --external"
            )
        with client(_READING_S) as api, waiting(f"reading {path.name}"):
            model = api.models.add(
                str(path.absolute()),
                name=name,
                licence=licence,
                probe_prompt=probe_prompt,
                probe_expect=probe_expect,
            )
    if model.location == _NO_WEIGHTS:
        words = f"Added {model.name} without weights. Plan it: yunhe plan {model.name}"
        done(f"{words}\nTo serve it, add the directory that holds its weights.", model)
    else:
        done(f"Added {model.name}. Serve it: yunhe deployment create {model.name}", model)


@command.command("remove")
@click.argument("name")
@remote_command
def remove(name: str) -> None:
    """Take a model out of the catalogue."""
    with client() as api:
        api.models.remove(name)
    note(f"Removed {name}.")
