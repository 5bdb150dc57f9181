"""`yunhe deployment`: model services to keep running."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from yunhe.cli.connect import client
from yunhe.cli.event import COLUMNS as EVENT_COLUMNS
from yunhe.cli.invocation import remote_command
from yunhe.cli.output import Column, done, emit_list, emit_record, note
from yunhe.cli.texts import when

if TYPE_CHECKING:
    from yunhe.sdk import Client
    from yunhe.sdk.deployments import Deployment, SettingValue

F = TypeVar("F", bound=Callable[..., Any])


@click.group("deployment")
def command() -> None:
    """Model services to keep running."""


COLUMNS: tuple[Column[Deployment], ...] = (
    Column("name", lambda deployment: deployment.name),
    Column("model", lambda deployment: deployment.model),
    Column("state", lambda deployment: deployment.state),
    Column("ready", lambda deployment: f"{deployment.ready_replicas}/{deployment.replicas}", right=True),
    Column("engine", lambda deployment: deployment.engine),
    Column("centre", lambda deployment: deployment.centre),
    Column("age", lambda deployment: when(deployment.created_at)),
    Column("reason", lambda deployment: deployment.reason),
)
FIELDS: tuple[Column[Deployment], ...] = (
    *COLUMNS,
    Column("recipe", lambda deployment: deployment.recipe.name),
    Column("settings", lambda deployment: settings_text(deployment.recipe.settings)),
    Column("external", lambda deployment: deployment.external.base_url if deployment.external else None),
    Column("generation", lambda deployment: str(deployment.generation)),
    Column("project", lambda deployment: deployment.project_id),
    Column("id", lambda deployment: deployment.id),
)


def settings_text(settings: dict[str, SettingValue]) -> str:
    """Settings on one line."""
    return " ".join(f"{name}={value}" for name, value in sorted(settings.items()))


def parse_setting(text: str) -> tuple[str, SettingValue]:
    """``name=value`` with the value as a boolean, a number or text. Raises click.BadParameter."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r}: write NAME=VALUE")
    if value in ("true", "false"):
        return name, value == "true"
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value


def _patience(function: F) -> F:
    function = click.option("--no-wait", is_flag=True, help="Return at once.")(function)
    return click.option(
        "--timeout", "timeout_s", type=click.FloatRange(min=0), default=300.0, show_default=True,
        help="Seconds to wait; exit status 6 when it is not there by then.",
    )(function)  # fmt: skip


@command.command("list")
@click.option("--project", help="Project, by name or id.")
@remote_command
def list_deployments(project: str | None) -> None:
    """List deployments."""
    with client() as api:
        emit_list([*api.deployments.list(project)], COLUMNS, empty="None. Make one: yunhe deployment create MODEL")


@command.command("show")
@click.argument("deployment")
@remote_command
def show(deployment: str) -> None:
    """Show one deployment."""
    with client() as api:
        emit_record(api.deployments.get(deployment), FIELDS)


@command.command("create")
@click.argument("model", required=False)
@click.option("--model", "model_option", metavar="MODEL", help="The same as the argument.")
@click.option("--name", help="Name of the deployment (default: the model's).")
@click.option("--replicas", type=click.IntRange(0, 64), default=1, show_default=True)
@click.option("--project", help="Project, by name or id.")
@click.option("--engine", help="Engine (default: one that supports the model).")
@click.option("--centre", help="Centre (default: one with room).")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="An engine's setting; repeatable.")
@click.option("--external", "external_url", metavar="URL", help="A server that already runs, instead of an engine.")
@click.option("--external-key", envvar="YUNHE_EXTERNAL_KEY", help="Its API key (or YUNHE_EXTERNAL_KEY).")
@click.option("--upstream-model", help="The model's name over there (default: the same).")
@click.option("--tokens-per-s", type=click.FloatRange(min=0, min_open=True), help="Declared speed (default: measured).")
@click.option("--slots", type=click.IntRange(1, 4096), help="Requests that it takes at once.")
@click.option("--context-length", type=click.IntRange(min=1), help="Of an external model that is not known yet.")
@_patience
@remote_command
def create(
    model: str | None,
    model_option: str | None,
    name: str | None,
    replicas: int,
    project: str | None,
    engine: str | None,
    centre: str | None,
    settings: tuple[str, ...],
    external_url: str | None,
    context_length: int | None,
    no_wait: bool,
    timeout_s: float,
    **server: str | float | int | None,
) -> None:
    """Serve MODEL, and wait until it answers."""
    wanted = model or model_option
    if wanted is None or (model and model_option):
        raise click.UsageError("name the model once")
    external = _external(external_url, server)
    with client() as api:
        if external is not None:
            _know_model(api, wanted, external, context_length)
        made = api.deployments.create(
            wanted,
            name=name,
            replicas=replicas,
            project=project,
            engine=engine,
            centre=centre,
            settings=dict(parse_setting(text) for text in settings),
            external=external,
        )
        _settle(api, made, no_wait, timeout_s, f"{made.name} answers.")


def _external(url: str | None, server: dict[str, Any]) -> dict[str, SettingValue] | None:
    given: dict[str, SettingValue] = {
        field: value
        for field, value in {
            "api_key": server["external_key"],
            "upstream_model": server["upstream_model"],
            "tokens_per_s": server["tokens_per_s"],
            "slots": server["slots"],
        }.items()
        if value is not None
    }
    if url is None:
        if given.keys() - {"api_key"}:
            raise click.UsageError("--upstream-model, --tokens-per-s and --slots belong to --external URL")
        return None
    return {"base_url": url.rstrip("/").removesuffix("/v1"), **given}


def _know_model(api: Client, model: str, external: dict[str, SettingValue], context_length: int | None) -> None:
    """An external server's model that the catalogue does not hold yet is added, as the server describes it."""
    from yunhe.cli.external import context_length as ask
    from yunhe.sdk import NotFound

    try:
        api.models.get(model)
    except NotFound:
        key = external.get("api_key")
        upstream = str(external.get("upstream_model") or model)
        length = context_length or ask(str(external["base_url"]), str(key) if key else None, upstream)
        api.models.add_external(model, context_length=length)
        note(f"Added {model} to the catalogue (external, context {length} tokens).")


@command.command("scale")
@click.argument("deployment")
@click.argument("replicas", type=click.IntRange(0, 64))
@_patience
@remote_command
def scale(deployment: str, replicas: int, no_wait: bool, timeout_s: float) -> None:
    """Change the number of replicas."""
    with client() as api:
        changed = api.deployments.change(deployment, replicas=replicas)
        _settle(api, changed, no_wait, timeout_s, f"{changed.name} runs {replicas} replicas.")


@command.command("restart")
@click.argument("deployment")
@_patience
@remote_command
def restart(deployment: str, no_wait: bool, timeout_s: float) -> None:
    """Replace every replica, one after the other, without a gap."""
    with client() as api:
        changed = api.deployments.restart(deployment)
        _settle(api, changed, no_wait, timeout_s, f"{changed.name} was restarted.")


@command.command("delete")
@click.argument("deployment")
@_patience
@remote_command
def delete(deployment: str, no_wait: bool, timeout_s: float) -> None:
    """Drain a deployment's replicas and let it go."""
    from yunhe.cli.settle import wait_gone

    with client() as api:
        deleted = api.deployments.delete(deployment)
        if no_wait:
            done(f"{deleted.name} is draining.", deleted)
            return
        wait_gone(api, deleted, timeout_s)
        done(f"{deleted.name} is gone.", deleted)


@command.command("events")
@click.argument("deployment")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@remote_command
def events(deployment: str, limit: int) -> None:
    """What happened to a deployment and its replicas, newest first."""
    with client() as api:
        found = api.deployments.get(deployment)
        subjects = {found.id, *(replica.id for replica in api.replicas.list(found.id, ended=True))}
        happened = [event for subject in subjects for event in _first(api.events.list(subject), limit)]
        happened.sort(key=lambda event: event.at, reverse=True)
        emit_list(happened[:limit], EVENT_COLUMNS, empty="Nothing yet.")


def _first(items: Any, limit: int) -> list[Any]:
    from itertools import islice

    return list(islice(items, limit))


def _settle(api: Client, deployment: Deployment, no_wait: bool, timeout_s: float, text: str) -> None:
    if no_wait:
        done(f"{deployment.name}: {deployment.state}. Watch it: yunhe deployment show {deployment.name}", deployment)
        return
    from yunhe.cli.settle import wait_settled

    done(text, wait_settled(api, deployment, timeout_s))
