"""`yunhe chip`: the catalogue of chips, and measuring the one that is here."""

from __future__ import annotations

from typing import Any, Final

import click

from yunhe.cli.calibrating import ask_calibration, show_calibration
from yunhe.cli.connect import configuration
from yunhe.cli.installing import follow
from yunhe.cli.invocation import current, local_command
from yunhe.cli.output import cells, emit_json, emit_rows, note
from yunhe.cli.planner import ask_planner

_UNITS: Final = {"memory_bytes": (1e9, "GB"), "scale_up_bytes_per_s": (1e9, "GB/s"), "cache_bytes": (1e6, "MB")}
_SHOWN: Final = {
    "memory_bandwidth_bytes_per_s": (1e9, "GB/s"),
    "scale_out_bytes_per_s": (1e9, "GB/s"),
    "power_watts": (1.0, "W"),
    "supernode_cards": (1.0, "cards"),
    **_UNITS,
}
_TERA: Final = 1e12


@click.group("chip")
def command() -> None:
    """The catalogue of chips: what is known of each, and who says so; and measuring your own."""


@command.command("list")
@click.option("--maker", help="Only this maker's.")
@local_command
def list_chips(maker: str | None) -> None:
    """List all chips of the catalogue; a dash is what nobody says."""
    known = ask_planner({"chips": {}})["chips"]
    if maker:
        known = [one for one in known if one["maker"].lower() == maker.lower()]
    if current().as_json:
        emit_json(known)
        return
    rows = [
        [
            one["maker"],
            one["chip"]["id"],
            _text(one["chip"].get("memory_bytes"), *_UNITS["memory_bytes"]),
            _text(one["chip"].get("memory_bandwidth_bytes_per_s"), 1e9, "GB/s"),
            *(_text(one["chip"].get("peak_flops", {}).get(dtype), _TERA) for dtype in ("bf16", "fp8", "int8", "fp4")),
            _text(one["chip"].get("scale_up_bytes_per_s"), 1e9, "GB/s"),
            _text(one["chip"].get("power_watts"), 1.0, "W"),
        ]
        for one in known
    ]
    numbers = ("memory", "bandwidth", "bf16 T", "fp8 T", "int8 T", "fp4 T", "links", "power")
    emit_rows(cells("maker", "chip", *numbers, right=numbers), rows)
    note(f"{len(rows)} chips. T: dense 10^12 operations a second. Sources: yunhe chip show CHIP")


@command.command("show")
@click.argument("name")
@local_command
def show(name: str) -> None:
    """Show one chip, each value with its source."""
    (one,) = ask_planner({"chips": {"names": [name]}})["chips"]
    if current().as_json:
        emit_json(one)
        return
    chip = one["chip"]
    words = {"maker": one["maker"], "id": chip["id"], "name": chip["name"], "family": chip["family"]}
    words |= {"also called": ", ".join(chip.get("aliases", [])), "memory": chip.get("memory_type") or "-"}
    words |= {"note": chip.get("note", "")}
    for title, text in words.items():
        if text:
            click.echo(f"{title:<14}{text}")
    rows = [
        [field, _text(value, *_unit(field)), value["confidence"], "; ".join(value["sources"]), value.get("note", "")]
        for field, value in _values(chip)
    ]
    emit_rows(cells("field", "value", "confidence", "sources", "note", right=("value",)), rows)
    for key, source in one["sources"].items():
        click.echo(f"  {key}: {source['title']} ({source['kind']}, read {source['read_at']})")


@command.command("diff")
@click.argument("first")
@click.argument("second")
@local_command
def diff(first: str, second: str) -> None:
    """Compare two chips, field by field."""
    answer = ask_planner({"chips": {"names": [first, second], "diff": True}})
    if current().as_json:
        emit_json(answer["differences"])
        return
    names = [one["chip"]["name"] for one in answer["chips"]]
    rows = [
        [
            one["field"],
            _text(_wrapped(one["first"]), *_unit(one["field"])),
            _text(_wrapped(one["second"]), *_unit(one["field"])),
            f"{one['ratio']:.2f} x" if one["ratio"] is not None else "-",
        ]
        for one in answer["differences"]
    ]
    emit_rows(cells("field", *names, "second / first", right=(*names, "second / first")), rows)


@command.command("calibrate")
@click.option("--engine", "engines", multiple=True, help="Only this one; may be repeated (default: all installed).")
@click.option("--model", help="A GGUF file to probe with (default: the model that comes with Yunhe).")
@local_command
def calibrate(engines: tuple[str, ...], model: str | None) -> None:
    """Measure the chip of this machine and every engine on it, in less than three minutes.

    No server is needed. `yunhe plan MODEL --chip THIS` then predicts by what was measured here.
    """
    arguments = ["--home", str(configuration().settings.home)]
    arguments += [word for name in engines for word in ("--engine", name)]
    if model:
        arguments += ["--model", model]
    done = follow(ask_calibration(*arguments))
    if current().as_json:
        emit_json(done["calibration"])
        return
    show_calibration(done["calibration"], done["path"])


def _values(chip: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = [(field, chip[field]) for field in sorted(_SHOWN) if chip.get(field)]
    return found + [(f"peak_flops.{dtype}", value) for dtype, value in chip.get("peak_flops", {}).items()]


def _unit(field: str) -> tuple[float, str]:
    return (_TERA, "TFLOPS") if field.startswith("peak_flops") else _SHOWN[field]


def _wrapped(value: float | None) -> dict[str, float] | None:
    return None if value is None else {"value": value}


def _text(value: dict[str, Any] | None, unit: float, name: str = "") -> str:
    return "-" if value is None else f"{value['value'] / unit:,.4g} {name}".strip()
