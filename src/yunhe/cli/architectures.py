"""`yunhe model architectures` and `yunhe model architecture`: the catalogue of model architectures."""

from __future__ import annotations

from typing import Any, Final

import click

from yunhe.cli.invocation import current, local_command
from yunhe.cli.output import cells, emit_json, emit_rows, note
from yunhe.cli.planner import ask_planner
from yunhe.cli.texts import number

_SIZES: Final = (
    "heads", "kv_heads", "head_size", "value_head_size", "window", "query_rank", "kv_rank", "rotary_size",
    "state_elements", "chosen_positions", "compression",
)  # fmt: skip


@click.command("architectures")
@click.option("--family", default="", help="Only this family's.")
@local_command
def list_architectures(family: str) -> None:
    """List the catalogue of model architectures; no server is asked."""
    known = ask_planner({"architectures": {"family": family}})["architectures"]
    if current().as_json:
        emit_json(known)
        return
    rows = [
        [
            one["architecture"]["id"],
            one["architecture"]["family"],
            _billions(one["parameters"]),
            _billions(one["active_parameters"]),
            str(one["layers"]),
            _kinds(one["architecture"]),
            number(one["architecture"]["context_length"]) or "",
            "; ".join(source["title"] for source in one["sources"].values()),
        ]
        for one in known
    ]
    numbers = ("parameters", "active", "layers", "context")
    emit_rows(cells("name", "family", *numbers[:3], "attention", "context", "sources", right=numbers), rows)
    note(f"{len(rows)} architectures. One of them: yunhe model architecture NAME; its plan: yunhe plan NAME")


@click.command("architecture")
@click.argument("name")
@local_command
def show_architecture(name: str) -> None:
    """Show one architecture, each kind of its layers, and where it was read."""
    (one,) = ask_planner({"architectures": {"names": [name]}})["architectures"]
    if current().as_json:
        emit_json(one)
        return
    found = one["architecture"]
    words = {
        "maker": one["maker"],
        "id": found["id"],
        "name": found["name"],
        "family": found["family"],
        "also called": ", ".join(found.get("aliases", [])),
        "licence": one["licence"],
        "parameters": f"{_billions(one['parameters'])}, {_billions(one['active_parameters'])} for a token",
        "context": number(found["context_length"]) or "",
        "hidden size": number(found["hidden_size"]) or "",
        "vocabulary": number(found["vocabulary"]) or "",
        "published in": ", ".join(found.get("published_dtypes", [])),
        "feed-forward": _feed_forward(found),
        "note": found.get("note", ""),
    }
    for title, text in words.items():
        if text:
            click.echo(f"{title:<14}{text}")
    rows = [[group["kind"], str(group["layers"]), _sizes(group)] for group in found["attention"]]
    emit_rows(cells("attention", "layers", "sizes", right=("layers",)), rows)
    for key, source in one["sources"].items():
        click.echo(f"  {key}: {source['title']} ({source['kind']}, read {source['read_at']})")


def _billions(count: int) -> str:
    return f"{count / 1e9:,.4g}B"


def _kinds(architecture: dict[str, Any]) -> str:
    """Layers by kind; full attention by how its heads share keys."""
    return " + ".join(f"{group['layers']} {_kind(group)}" for group in architecture["attention"])


def _kind(group: dict[str, Any]) -> str:
    if group["kind"] == "window":
        return f"window {group['window']}"
    if group["kind"] != "full":
        return str(group["kind"])
    if group["kv_heads"] == group["heads"]:
        return "full MHA"
    return "full MQA" if group["kv_heads"] == 1 else "full GQA"


def _sizes(group: dict[str, Any]) -> str:
    return " ".join(f"{name}={group[name]}" for name in _SIZES if group.get(name))


def _feed_forward(architecture: dict[str, Any]) -> str:
    parts = []
    if architecture["dense_layers"]:
        parts.append(f"{architecture['dense_layers']} layers of {architecture['intermediate_size']}")
    experts = architecture["experts"]
    if experts:
        shared = experts.get("shared_intermediate_size")
        parts.append(
            f"{experts['layers']} layers of {experts['experts']} experts of {experts['intermediate_size']}, "
            f"{experts['used']} for a token" + (f", beside {shared} shared" if shared else "")
        )
    return "; ".join(parts)
