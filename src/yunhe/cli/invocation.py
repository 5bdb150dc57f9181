"""What every command shares: the options that hold everywhere, and what they were set to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Invocation:
    """One call of ``yunhe``. The command line fills it before the command runs."""

    as_json: bool = False
    debug: bool = False
    url: str | None = None
    key: str | None = None


def current() -> Invocation:
    """The running call's options."""
    return click.get_current_context().find_object(Invocation) or Invocation()


def _store(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            setattr(context.ensure_object(Invocation), name, value)

    return callback


def _option(*flags: str, name: str, **attributes: Any) -> Callable[[F], F]:
    return click.option(*flags, f"_{name}", expose_value=False, callback=_store(name), **attributes)


def local_command(function: F) -> F:
    """Options of a command that needs no instance: --json, --debug."""
    for decorate in (
        _option("--debug", name="debug", is_flag=True, help="Show a stack trace when something fails."),
        _option("--json", name="as_json", is_flag=True, help="Print data as JSON."),
    ):
        function = decorate(function)
    return function


def remote_command(function: F) -> F:
    """Options of a command that talks to an instance: those of every command, --url and --key."""
    function = local_command(function)
    for decorate in (
        _option("--key", name="key", metavar="KEY", help="API key (or YUNHE_API_KEY)."),
        _option("--url", name="url", metavar="URL", help="Instance to talk to (or YUNHE_URL)."),
    ):
        function = decorate(function)
    return function
