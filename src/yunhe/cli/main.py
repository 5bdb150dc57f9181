"""``yunhe``: the table of commands, and the edge where errors become words and exit statuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from yunhe import __version__
from yunhe.cli import exits
from yunhe.cli.invocation import Invocation, remote_command
from yunhe.cli.lazy import Entry, LazyGroup, Section

SECTIONS = (
    Section(
        "Every day",
        (
            Entry("up", "up", "Start everything on this machine."),
            Entry("down", "down", "Stop everything, replicas included."),
            Entry("status", "status", "What runs, and how each part fares."),
            Entry("doctor", "doctor", "What is wrong, and the next step."),
            Entry("chat", "chat", "Talk to a model; the answer streams."),
            Entry("logs", "logs", "Logs of a replica, control, gateway, agent or launcher."),
            Entry("login", "login", "Sign in to an instance elsewhere."),
            Entry("join", "join", "Bring this machine's cards into an instance elsewhere."),
            Entry("config", "config", "The configuration, and where each value comes from."),
        ),
    ),
    Section(
        "Serving",
        (
            Entry("model", "model", "The catalogue of models."),
            Entry("deployment", "deployment", "Model services to keep running."),
            Entry("rollout", "rollout", "Recipes on their way to become a deployment's."),
            Entry("replica", "replica", "Running copies of models."),
            Entry("event", "event", "What happened, and why."),
        ),
    ),
    Section(
        "Adapting",
        (
            Entry("adapt", "adapt", "Find, measure and prove the best way to run a model."),
            Entry("plan", "plan", "Predict how a model runs on each chip; the best way marked."),
            Entry("adaptation", "adaptation", "Searches for the best way to run a model."),
            Entry("recipe", "recipe", "Signed recipes: what was found, and proven."),
            Entry("chip", "chip", "The catalogue of chips, with sources."),
        ),
    ),
    Section(
        "Pool",
        (
            Entry("centre", "centre", "Sites that bring cards."),
            Entry("node", "node", "Hosts with cards."),
            Entry("card", "card", "Accelerators: health, speed, use."),
            Entry("engine", "engine", "Inference engines that centres have."),
        ),
    ),
    Section(
        "People and money",
        (
            Entry("key", "key", "API keys."),
            Entry("project", "project", "Projects, their members and limits."),
            Entry("user", "user", "People who sign in."),
            Entry("usage", "usage", "What was used, and what it cost."),
            Entry("balance", "balance", "A project's credit."),
            Entry("price", "price", "Prices of models' tokens."),
            Entry("ledger", "ledger", "The books: entries, and proof that they are right."),
        ),
    ),
)


@click.group(
    cls=LazyGroup,
    sections=SECTIONS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 ok, 1 failed, 2 usage, 3 not found, 4 sign-in needed, 5 quota or balance, 6 still pending.",
)
@click.version_option(__version__, prog_name="yunhe")
@remote_command
def cli() -> None:
    """Yunhe: one network of compute, one door to every model."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. Every error ends here, as words on stderr."""
    invocation = Invocation()
    try:
        result = cli.main(
            args=None if arguments is None else list(arguments),
            prog_name="yunhe",
            standalone_mode=False,
            obj=invocation,
        )
    except click.ClickException as error:
        error.show()
        return exits.USAGE if isinstance(error, click.UsageError) else error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output (`| head`) has enough; the interpreter must not complain while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except Exception as error:  # noqa: BLE001 - the process's edge
        return _fail(error, invocation)
    return result if isinstance(result, int) else exits.OK


def _fail(error: Exception, invocation: Invocation) -> int:
    if invocation.debug:
        import traceback

        traceback.print_exception(error)
    code = getattr(error, "code", "internal_error")
    message = getattr(error, "message", "") or f"{type(error).__name__}: {error}"
    hint = getattr(error, "next_step", "") or "Run the command again with --debug and report what it shows."
    for line in getattr(error, "log_tail", ()):
        click.echo(click.style(f"  | {line}", dim=True), err=True)
    if log := getattr(error, "log", ""):
        click.echo(click.style(f"  from {log}", dim=True), err=True)
    label = click.style(f"error[{code}]:", fg="red", bold=True)
    click.echo(f"{label} {message}", err=True)
    click.echo(f"\nhint: {hint}", err=True)
    if request_id := getattr(error, "request_id", None):
        click.echo(click.style(f"request id: {request_id}", dim=True), err=True)
    return exits.status_for(str(code), getattr(error, "http_status", None))


if __name__ == "__main__":
    sys.exit(main())
