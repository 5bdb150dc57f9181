"""`yunhe up`: start everything on this machine."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from yunhe.cli import exits
from yunhe.cli.invocation import current, local_command
from yunhe.cli.output import emit_json, note

if TYPE_CHECKING:
    from yunhe.launcher.config import Settings
    from yunhe.launcher.credentials import Report


@click.command("up")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on; 0 takes a free one (default: 8420).")
@click.option("--host", help="Address to listen on (default: 127.0.0.1).")
@click.option("--workers", type=click.IntRange(1, 64), help="Gateway workers (default: 2).")
@click.option("--detach", is_flag=True, help="Return when ready and leave it running.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds to become ready (default: 180).",
)
@local_command
def command(port: int | None, host: str | None, workers: int | None, detach: bool, timeout_s: float | None) -> int:
    """Start gateway, control, agent and a model on this machine.

    In the foreground until Ctrl-C, or in the background with --detach. The data directory is YUNHE_HOME.
    """
    from yunhe.launcher.config import resolve

    flags = {"port": port, "host": host, "workers": workers, "timeout_s": timeout_s}
    settings = resolve(flags).settings
    return _detached(settings) if detach else _foreground(settings)


def _detached(settings: Settings) -> int:
    from yunhe.cli.starting import shown_progress
    from yunhe.launcher.up import detach

    with shown_progress() as watch:
        report = detach(settings, watch)
    _show(report, settings, stop="yunhe down")
    return exits.OK


def _foreground(settings: Settings) -> int:
    from contextlib import ExitStack

    from yunhe.cli.starting import PlainLines, shown_progress
    from yunhe.launcher.progress import Progress
    from yunhe.launcher.up import run

    _warnings_to_stderr()
    with ExitStack() as stack:
        watch = stack.enter_context(shown_progress())
        was_ready = False

        def tell(progress: Progress) -> None:
            watch(progress)

        def ready(report: Report) -> None:
            nonlocal watch, was_ready
            was_ready = True
            stack.close()
            watch = PlainLines(timed=False).watch
            _show(report, settings, stop="Ctrl-C, or yunhe down")

        run(settings, tell, ready)
    if not was_ready:
        note("interrupted before it was ready; everything is stopped")
        return exits.INTERRUPTED
    note("everything is stopped")
    return exits.OK


def _show(report: Report, settings: Settings, *, stop: str) -> None:
    from yunhe.cli.starting import print_report
    from yunhe.core.home import Home
    from yunhe.launcher.credentials import forget_first_start
    from yunhe.launcher.readiness import DEFAULT_MODEL

    if current().as_json:
        emit_json(asdict(report))
    else:
        print_report(report, DEFAULT_MODEL, stop=stop)
    # Only now: had printing failed, the next start would show it.
    forget_first_start(Home(settings.home))


def _warnings_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("yunhe").addHandler(handler)
