"""`yunhe recipe verify`: run a recipe again where its chip is, and say within which of its intervals it holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from yunhe.cli import exits
from yunhe.cli.adapt import duration, follow
from yunhe.cli.connect import client
from yunhe.cli.errors import CliError
from yunhe.cli.invocation import current, remote_command
from yunhe.cli.output import cells, emit_json, emit_rows, note

if TYPE_CHECKING:
    from yunhe.sdk import Client

COLUMNS = cells(
    "load", "recipe tok/s", "interval", "now tok/s", "interval now", "holds", right=("recipe tok/s", "now tok/s")
)


class NotReproduced(CliError):
    """The recipe could not be measured again."""

    code = "not_reproduced"


@click.command("verify")
@click.argument("recipe")
@click.option("--on", "centre", default="local", show_default=True, help="Centre to run it in.")
@click.option("--budget", "budget_s", default="5m", show_default=True, callback=duration, help="Time for all of it.")
@remote_command
def command(recipe: str, centre: str, budget_s: float) -> int:
    """Run RECIPE again beside the present recipe, by turns, and compare with what it promises.

    Its fidelity is measured again too. Exit status 1 when it does not hold.
    """
    with client() as api:
        promised = json.loads(api.recipes.envelope(recipe))["recipe"]
        begun = api.adaptations.create(
            promised["model"]["name"],
            centre,
            workload=_workload(promised["workload"]),
            use_class=promised["fidelity"]["use_class"],
            duration_s=budget_s,
            only={"engine": promised["engine"]["build"]["name"], "settings": promised["settings"]},
            seed=promised["workload"]["seed"],
        )
        ended = follow(api, begun)
        if ended.recipe_id is None:
            raise NotReproduced(
                f"it does not hold here: {ended.activity}", next_step=f"yunhe adaptation show {ended.id}"
            )
        rows = compare(promised, _measured(api, ended.recipe_id))
    if current().as_json:
        emit_json({"adaptation": ended.id, "reproduced_by": ended.recipe_id, "loads": rows})
    else:
        emit_rows(COLUMNS, [_cells(row) for row in rows])
        note("It holds." if all(row["holds"] for row in rows) else "It does not hold under every load.")
    return exits.OK if rows and all(row["holds"] for row in rows) else exits.FAILED


def _workload(part: dict[str, Any]) -> dict[str, Any]:
    """The recipe's workload as an adaptation takes it."""
    asked = {"requests": part["lengths"], "concurrencies": part["concurrencies"]}
    return {**asked, "open_loop_share": 0.7 if part["request_rates_per_s"] else 0.0}


def _measured(api: Client, recipe_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(api.recipes.envelope(recipe_id))["recipe"]
    return found


def compare(promised: dict[str, Any], again: dict[str, Any]) -> list[dict[str, Any]]:
    """Closed-loop loads that both have. It holds where the two intervals meet, or where it is faster now.

    Open loops run at a rate of the day, so their figures are not compared.
    """
    now = {one["load"]["concurrency"]: one["output_tokens_per_s"] for one in again["measurements"]}
    rows = []
    for one in promised["measurements"]:
        width = one["load"]["concurrency"]
        if width is None or width not in now:
            continue
        then, here = _ends(one["output_tokens_per_s"]), _ends(now[width])
        rows.append(
            {
                "concurrency": width,
                "promised_tokens_per_s": then,
                "measured_tokens_per_s": here,
                "holds": here["high"] >= then["low"],
            }
        )
    return rows


def _ends(estimate: dict[str, Any]) -> dict[str, float]:
    ends = estimate["interval"] or {"low": estimate["value"], "high": estimate["value"]}
    return {"value": estimate["value"], "low": ends["low"], "high": ends["high"]}


def _cells(row: dict[str, Any]) -> list[str]:
    then, now = row["promised_tokens_per_s"], row["measured_tokens_per_s"]
    shown = [f"{one['value']:.1f}" for one in (then, now)]
    ranges = [f"{one['low']:.1f} to {one['high']:.1f}" for one in (then, now)]
    load = f"{row['concurrency']} in flight"
    return [load, shown[0], ranges[0], shown[1], ranges[1], "yes" if row["holds"] else "no"]
