"""`yunhe plan`: how a model would best run on chips that need not be here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from yunhe.cli.connect import client, configuration
from yunhe.cli.invocation import current, remote_command
from yunhe.cli.output import cells, emit_json, emit_rows, note
from yunhe.cli.planner import NotInCatalogue, ask_planner

_SHOWN: Final = 24
_CONFIG: Final = "config.json"
_GOALS: Final = {"ttft_p95": "ttft_p95_s", "tpot_p95": "tpot_p95_s"}
_UNITS: Final = {"ms": 0.001, "s": 1.0}


@click.command("plan")
@click.argument("model", required=False)
@click.option("--chip", "chips", multiple=True, help="Only this chip; may be repeated (yunhe chip list).")
@click.option("--engine", "engines", multiple=True, help="Only this engine; may be repeated.")
@click.option("--precision", "precisions", multiple=True, help="bf16, fp8, int8, fp4 ...; may be repeated.")
@click.option("--isl", default=1024.0, show_default=True, type=click.FloatRange(min=1), help="Prompt tokens.")
@click.option("--osl", default=256.0, show_default=True, type=click.FloatRange(min=1), help="Answer tokens.")
@click.option("--concurrency", type=click.FloatRange(min=1), help="Requests in flight (default: as many as pay).")
@click.option("--slo", help="What must hold: ttft_p95=2s,tpot_p95=50ms.")
@click.option("--cards", multiple=True, metavar="CHIP=N", help="Cards that there are; may be repeated.")
@click.option("--price", "prices", multiple=True, metavar="CHIP=CREDITS", help="Credits for a card's hour.")
@click.option("--max-price", type=click.FloatRange(min=0), help="Credits for a million answer tokens, at most.")
@click.option("--all", "every", is_flag=True, help="Every number of cards, not only the best of each way.")
@click.option(
    "--validate",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="Score the predictor on published rows instead.",
)
@remote_command
def command(model: str | None, validate: Path | None, **options: Any) -> None:
    """Predict how MODEL runs on each chip, and mark the best way; or score the predictor on published results.

    MODEL is a name of the catalogue (yunhe model architectures), a path of a config.json or its directory, or a model
    that the instance was told of. Only the last asks a server: catalogues and predictor come with the package.
    """
    if validate is not None:
        _show_report(ask_planner({"validate": {"path": str(validate)}})["report"])
        return
    if model is None:
        raise click.UsageError("give a MODEL, or --validate FILE.csv")
    goals = {
        "input_tokens": options["isl"],
        "output_tokens": options["osl"],
        "concurrency": options["concurrency"],
        "price_max": options["max_price"],
        **_slo(options["slo"] or ""),
    }
    asked = {
        "goals": goals,
        "cards": {name: int(count) for name, count in _pairs(options["cards"]).items()},
        "prices": _pairs(options["prices"]),
        "calibrations": str(configuration().settings.home / "calibrations"),
        **{name: list(options[name]) for name in ("chips", "engines", "precisions")},
    }
    _show_plan(_plan(model, asked), options["every"])


def _plan(model: str, asked: dict[str, Any]) -> dict[str, Any]:
    """By the catalogue of architectures, by a config.json, else by the model that the instance was told of."""
    path = Path(model)
    if path.name == _CONFIG or (path / _CONFIG).is_file():
        found: dict[str, Any] = ask_planner({"plan": {**asked, "config": str(path.absolute())}})["plan"]
        return found
    try:
        found = ask_planner({"plan": {**asked, "model": model}})["plan"]
    except NotInCatalogue as unknown:
        structure = _registered(model)
        # The error may speak of a chip too; then it comes again.
        if structure is None:
            raise unknown from None
        found = ask_planner({"plan": {**asked, "architecture": structure}})["plan"]
    return found


def _registered(model: str) -> dict[str, Any] | None:
    """The structure of a model in the instance's catalogue; None when there is no instance, model or structure."""
    from yunhe.cli.errors import CliError
    from yunhe.sdk import ApiError

    try:
        with client() as api:
            return api.models.get(model).structure
    except (ApiError, CliError):
        return None


def _slo(text: str) -> dict[str, float]:
    """``ttft_p95=2s,tpot_p95=50ms`` in seconds; a number alone is milliseconds."""
    found = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        unit = next((unit for unit in _UNITS if value.strip().endswith(unit)), "")
        try:
            found[_GOALS[name.strip()]] = float(value.strip().removesuffix(unit)) * _UNITS.get(unit, 0.001)
        except (KeyError, ValueError):
            raise click.BadParameter(
                f"{part!r} is none of {', '.join(_GOALS)} with a time, as tpot_p95=50ms", param_hint="--slo"
            ) from None
    return found


def _pairs(values: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for value in values:
        name, _, number = value.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            raise click.BadParameter(f"{value!r} is not CHIP=NUMBER") from None
    return found


def _kind(of: dict[str, Any]) -> tuple[str, str, str]:
    return of["chip"], of["engine"], of["precision"]


def _show_plan(plan: dict[str, Any], every: bool) -> None:
    if current().as_json:
        emit_json(plan)
        return
    ways, refused = plan["ways"], plan["refused"]
    if not every:
        # Ways are sorted: the first of a kind is its best.
        ways = list({_kind(way): way for way in reversed(ways)}.values())[::-1]
        possible = {_kind(way) for way in ways}
        refused = list({_kind(no): no for no in refused if _kind(no) not in possible}.values())
    rows = [
        [
            "CHOSEN" if way["chosen"] else "",
            way["chip"],
            way["engine"],
            way["precision"],
            str(way["tensor_parallel"]),
            str(way["concurrency"]),
            f"{way['ttft_s']['value'] * 1000:.0f}",
            _interval_ms(way["tpot_s"]),
            f"{way['output_tokens_per_s_per_card']:.0f}",
            way["binding"],
            way["basis"],
        ]
        for way in ways[:_SHOWN]
    ]
    numbers = ("cards", "at once", "TTFT ms", "TPOT ms (90 %)", "tok/s/card")
    emit_rows(cells("", "chip", "engine", "format", *numbers, "binds", "rests on", right=numbers), rows)
    more = len(ways) - _SHOWN
    if more > 0:
        note(f"... and {more} more ways (--json shows all, --chip narrows).")
    for no in refused[:_SHOWN]:
        cards = f" x {no['tensor_parallel']}" if no["tensor_parallel"] else ""
        note(f"refused: {no['chip']}{cards}, {no['engine']}, {no['precision']}: {no['reason']}")
    if any(way["basis"].startswith("measured here") for way in ways):
        note("Ways that rest on `yunhe chip calibrate` have intervals of judgement, wider the less alike the model is.")
    note(f"Predicted, not measured; best by {plan['objective']}. Intervals hold 90 % of rows left out of the fit.")


def _interval_ms(seconds: dict[str, float]) -> str:
    value, low, high = (seconds[name] * 1000 for name in ("value", "low", "high"))
    return f"{value:.1f} ({low:.1f}-{high:.1f})"


def _show_report(report: dict[str, Any]) -> None:
    if current().as_json:
        emit_json(report)
        return
    rows = [
        [
            group["group"],
            group["metric"],
            group["level"],
            str(group["rows"]),
            f"{group['median_error']:.1%}",
            f"{group['coverage']:.0%}",
            f"{group['median_ratio']:.2f}",
        ]
        for group in report["groups"]
    ]
    numbers = ("rows", "median error", "inside interval", "predicted/published")
    emit_rows(cells("group", "metric", "rests on", *numbers, right=numbers), rows)
    refused = sum("refused" in row for row in report["rows"])
    note(f"{len(report['rows']) - refused} values predicted, {refused} rows refused (--json gives each reason).")
