"""`yunhe rollout`: recipes on their way to become a deployment's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from yunhe.cli.connect import client
from yunhe.cli.deployment import parse_setting, settings_text
from yunhe.cli.invocation import remote_command
from yunhe.cli.output import Column, done, emit_list, emit_record
from yunhe.cli.texts import when

if TYPE_CHECKING:
    from yunhe.sdk import Client
    from yunhe.sdk.rollouts import Rollout

F = TypeVar("F", bound=Callable[..., Any])


@click.group("rollout")
def command() -> None:
    """Recipes on their way to become a deployment's."""


COLUMNS: tuple[Column[Rollout], ...] = (
    Column("id", lambda one: one.id),
    Column("recipe", lambda one: one.recipe.name),
    Column("stage", lambda one: one.stage),
    Column("age", lambda one: when(one.created_at)),
    Column("progress", lambda one: one.progress),
)
FIELDS: tuple[Column[Rollout], ...] = (
    *COLUMNS,
    Column("deployment", lambda one: one.deployment),
    Column("settings", lambda one: settings_text(one.recipe.settings)),
    Column("signed recipe", lambda one: one.recipe_id),
    Column("instead of", lambda one: one.previous.name),
    Column("share", lambda one: f"{one.share:.0%}"),
    Column("requests", lambda one: f"{one.figures.requests} (of {one.policy.requests_min} needed)"),
    Column("streams", lambda one: str(one.figures.streams)),
    Column("errors", lambda one: f"{one.figures.errors} (bound {one.guards.error_share:.1%})"),
    Column("TTFT p95", lambda one: _bounded(one.figures.ttft_p95_s, one.guards.ttft_p95_s)),
    Column("TPOT", lambda one: _bounded(one.figures.tpot_p50_s, one.guards.tpot_p50_s)),
    Column("others' TTFT p95", lambda one: _bounded(one.others.ttft_p95_s, None)),
    Column("others' TPOT", lambda one: _bounded(one.others.tpot_p50_s, None)),
    Column("stage since", lambda one: when(one.stage_since)),
    Column("reason", lambda one: one.reason),
)


def _bounded(value_s: float | None, bound_s: float | None) -> str:
    value = "-" if value_s is None else f"{value_s * 1000:.1f} ms"
    return value if bound_s is None else f"{value} (bound {bound_s * 1000:.1f} ms)"


def _conditions(function: F) -> F:
    options = (
        click.option("--share", type=click.FloatRange(0, 1, min_open=True), help="Of the requests (default: 0.2)."),
        click.option("--canary", "canary_s", type=click.FloatRange(0, 86_400), help="Shortest time (default: 60 s)."),
        click.option("--requests", "requests_min", type=click.IntRange(0, 500), help="It must answer (default: 20)."),
        click.option("--max-ttft", "ttft_p95_s", type=click.FloatRange(0, 3600, min_open=True), help="Seconds, p95."),
        click.option(
            "--max-tpot", "tpot_p50_s", type=click.FloatRange(0, 3600, min_open=True), help="Seconds, median."
        ),
        click.option(
            "--max-slowdown",
            "slowdown_max",
            type=click.FloatRange(0, 1000, min_open=True),
            help="Its TPOT over that of the replicas beside it (default: 2).",
        ),
        click.option("--max-errors", "error_share", type=click.FloatRange(0, 1), help="Share (default: 0)."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _patience(function: F) -> F:
    function = click.option("--no-wait", is_flag=True, help="Return at once.")(function)
    return click.option(
        "--timeout", "timeout_s", type=click.FloatRange(min=0), default=900.0, show_default=True,
        help="Seconds to wait; exit status 6 when it is under way still.",
    )(function)  # fmt: skip


@command.command("start")
@click.argument("deployment")
@click.option("--recipe", "recipe_id", metavar="ID", help="A signed recipe (yunhe recipe list).")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Instead: an engine's setting; repeatable."
)
@click.option("--engine", help="With --set: another engine.")
@click.option("--name", help="With --set: what x-yunhe-served-by shows (default: from the content).")
@_conditions
@_patience
@remote_command
def start(
    deployment: str,
    recipe_id: str | None,
    settings: tuple[str, ...],
    engine: str | None,
    name: str | None,
    no_wait: bool,
    timeout_s: float,
    **conditions: Any,
) -> None:
    """Roll a recipe out: a canary first, then the default, or back. Exit status 1 when it was taken back."""
    given = bool(settings or engine or name)
    if given == (recipe_id is not None):
        raise click.UsageError("give either --recipe ID or --set NAME=VALUE")
    recipe: dict[str, Any] = {"settings": dict(parse_setting(text) for text in settings)}
    recipe |= {field: value for field, value in (("engine", engine), ("name", name)) if value is not None}
    bounds = ("ttft_p95_s", "tpot_p50_s", "error_share", "slowdown_max")
    guards = {field: value for field in bounds if (value := conditions.pop(field)) is not None}
    with client() as api:
        made = api.rollouts.start(
            deployment, recipe_id=recipe_id, recipe=recipe if given else None, guards=guards, **conditions
        )
        if no_wait:
            done(f"{made.recipe.name}: {made.stage}. Watch it: yunhe rollout show {made.deployment}", made)
            return
        _follow(api, made, timeout_s)


@command.command("list")
@click.argument("deployment")
@remote_command
def list_rollouts(deployment: str) -> None:
    """List a deployment's roll-outs, newest first."""
    with client() as api:
        emit_list([*api.rollouts.list(deployment)], COLUMNS, empty="None. Make one: yunhe rollout start DEPLOYMENT")


@command.command("show")
@click.argument("deployment")
@click.argument("rollout", required=False)
@remote_command
def show(deployment: str, rollout: str | None) -> None:
    """Show one roll-out; without an id the newest."""
    with client() as api:
        emit_record(_named(api, deployment, rollout), FIELDS)


@command.command("abort")
@click.argument("deployment")
@click.argument("rollout", required=False)
@remote_command
def abort(deployment: str, rollout: str | None) -> None:
    """Take a roll-out back (without an id: the newest); the deployment keeps what it had."""
    with client() as api:
        ended = api.rollouts.abort(deployment, _named(api, deployment, rollout).id)
        done(f"{ended.recipe.name} was taken back; {ended.deployment} runs on {ended.previous.name}.", ended)


@command.command("promote")
@click.argument("deployment")
@click.argument("rollout", required=False)
@remote_command
def promote(deployment: str, rollout: str | None) -> None:
    """Make the recipe the default now (without an id: the newest roll-out's)."""
    with client() as api:
        ended = api.rollouts.promote(deployment, _named(api, deployment, rollout).id)
        done(f"{ended.recipe.name} is the recipe of {ended.deployment}.", ended)


def _named(api: Client, deployment: str, rollout: str | None) -> Rollout:
    if rollout is not None:
        return api.rollouts.get(deployment, rollout)
    from yunhe.cli.errors import NothingThere

    newest = next(api.rollouts.list(deployment), None)
    if newest is None:
        raise NothingThere(f"{deployment} has no roll-out", next_step="Start one: yunhe rollout start DEPLOYMENT")
    return newest


def _follow(api: Client, rollout: Rollout, timeout_s: float) -> None:
    """Wait until it has ended. Raises StillPending, RolledBack."""
    from yunhe.cli.errors import RolledBack
    from yunhe.cli.settle import wait_rolled_out

    ended = wait_rolled_out(api, rollout, timeout_s)
    if ended.stage == "rolled_back":
        raise RolledBack(
            f"{ended.recipe.name} was taken back: {ended.reason}",
            next_step=f"{ended.deployment} runs on {ended.previous.name} as before; look at `yunhe rollout show`.",
        )
    done(f"{ended.recipe.name} is the recipe of {ended.deployment}: {ended.reason}.", ended)
