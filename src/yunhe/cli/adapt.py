"""`yunhe adapt`: find, measure and prove the best way to run a model on a centre's cards."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yunhe.cli import exits
from yunhe.cli.connect import client
from yunhe.cli.invocation import current, remote_command
from yunhe.cli.output import emit_json, note

if TYPE_CHECKING:
    from yunhe.sdk import Client
    from yunhe.sdk.adaptations import Adaptation

#: The journal grows every few seconds, and asking costs time of the machine that is being measured.
POLL_S = 4.0
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def duration(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """``90s``, ``14m``, ``2h``, ``1d``, or seconds, as seconds."""
    number, unit = (value[:-1], value[-1]) if value[-1:] in _UNITS else (value, "s")
    try:
        found = float(number) * _UNITS[unit]
    except ValueError:
        found = 0.0
    if not found > 0:
        raise click.BadParameter("give a time such as 90s, 14m or 2h", context, parameter)
    return found


@click.command("adapt")
@click.argument("model")
@click.option("--on", "centre", default="local", show_default=True, help="Centre whose cards it is for.")
@click.option("--chip", help="Chip of that centre (default: the first that can run the model).")
@click.option(
    "--workload",
    default="decode",
    show_default=True,
    help="decode, chat, prefill, or a JSON file with requests and concurrencies.",
)
@click.option(
    "--use", "use_class", type=click.Choice(["chat", "code", "exact"]), default="chat", show_default=True,
    help="Whose fidelity gate must be passed.",
)  # fmt: skip
@click.option("--budget", "budget_s", default="14m", show_default=True, callback=duration, help="Time for all of it.")
@click.option("--trials", type=click.IntRange(1, 100_000), help="Measured windows at most.")
@click.option("--engine", "engines", multiple=True, help="Search this engine only; may be repeated.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="File of the HTML report.")
@click.option("--roll-out", is_flag=True, help="Then bring the recipe to the model's deployments, canary first.")
@click.option("--detach", "-d", is_flag=True, help="Return at once; follow it with `yunhe adaptation show`.")
@remote_command
def command(**asked: Any) -> int:
    """Find the best way to run MODEL on a centre's cards, and prove it.

    Candidates run there as replicas do and are measured beside the present recipe, by turns; the fidelity gate compares
    their outputs with the model's own weights at 16 bit. What holds under every load becomes a signed recipe. It goes
    on when this command ends or anything is killed.
    """
    with client() as api:
        begun = api.adaptations.create(
            asked["model"],
            asked["centre"],
            chip=asked["chip"],
            workload=_workload(asked["workload"]),
            use_class=asked["use_class"],
            duration_s=asked["budget_s"],
            trials=asked["trials"],
            engines=asked["engines"],
        )
        if asked["detach"]:
            _say(begun)
            return exits.OK
        ended = follow(api, begun)
        view = api.adaptations.view(begun.id)
        path = _write_report(api, ended, asked["report"])
        if current().as_json:
            emit_json({"adaptation": ended.model_dump(mode="json"), "view": view, "report": str(path)})
        else:
            from yunhe.cli.adapt_view import final_table

            final_table(view, recipe_id=ended.recipe_id, report=str(path))
        if asked["roll_out"] and ended.recipe_id is not None:
            _roll_out(api, ended)
    return exits.OK if ended.state == "finished" else exits.FAILED


def _workload(text: str) -> str | dict[str, Any]:
    if text in ("decode", "chat", "prefill"):
        return text
    try:
        found = json.loads(Path(text).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{text!r} is no known workload and no file of JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.BadParameter(f"{text!r} holds no JSON object")
    return found


def _say(begun: Adaptation) -> None:
    if current().as_json:
        emit_json(begun.model_dump(mode="json"))
        return
    note(f"{begun.id}: {begun.activity or begun.state}.")
    note(f"Follow it: yunhe adaptation show {begun.id}")


def follow(api: Client, begun: Adaptation) -> Adaptation:
    """Show what is under way until it has ended; Ctrl-C leaves it running."""
    try:
        with _shown() as show:
            while True:
                now = api.adaptations.get(begun.id)
                show(api, now)
                if now.ended:
                    return now
                time.sleep(POLL_S)
    except KeyboardInterrupt:
        note(f"It goes on without this command. Follow it: yunhe adaptation show {begun.id}")
        note(f"Stop it: yunhe adaptation cancel {begun.id}")
        raise


@contextmanager
def _shown() -> Iterator[Any]:
    """A live panel on a terminal, a line for each new activity elsewhere, nothing with --json."""
    if current().as_json:
        yield lambda api, now: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        from yunhe.cli.adapt_view import progress_panel

        with Live(console=Console(stderr=True), refresh_per_second=1, transient=True) as live:
            yield lambda api, now: live.update(progress_panel(api.adaptations.view(now.id)))
    else:
        said = [""]

        def line(api: Client, now: Adaptation) -> None:
            if now.activity != said[-1]:
                said.append(now.activity)
                note(f"{now.used_s:6.0f} s  {now.state}: {now.activity}")

        yield line


def _write_report(api: Client, ended: Adaptation, wanted: Path | None) -> Path:
    path = wanted or Path(f"yunhe-{ended.model.replace('/', '-')}-{ended.id[-8:]}.html")
    path.write_bytes(api.adaptations.report(ended.id))
    return path


def _roll_out(api: Client, ended: Adaptation) -> None:
    """One roll-out for each deployment of the model."""
    found = [one for one in api.deployments.list() if one.model == ended.model]
    if not found:
        note(f"No deployment of {ended.model} to roll it out to: yunhe deployment create {ended.model}")
    for one in found:
        begun = api.rollouts.start(one.id, recipe_id=ended.recipe_id)
        note(f"{one.name}: {begun.stage}, {begun.reason}. Follow it: yunhe rollout show {one.name} {begun.id}")
