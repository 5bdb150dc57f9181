"""How a start looks: live lines on a terminal, plain ones elsewhere, and the panel at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from yunhe.launcher.credentials import Report
    from yunhe.launcher.progress import Progress, Watcher

PARTS = ("control", "gateway", "agent", "model")
_MARKS = {"ready": ("ok", "green"), "failing": ("!!", "red"), "stopped": ("--", "bright_black")}


@contextmanager
def shown_progress() -> Iterator[Watcher]:
    """Show on stderr what becomes of the parts; hands out what to tell it to."""
    if not sys.stderr.isatty():
        yield PlainLines().watch
        return
    from rich.console import Console
    from rich.live import Live

    lines = LiveLines()
    with Live(lines, console=Console(stderr=True), refresh_per_second=8, transient=True):
        yield lines.watch


class PlainLines:
    """A line for each change; with ``timed`` it says how long after the beginning."""

    def __init__(self, *, timed: bool = True) -> None:
        self._began = time.monotonic()
        self._timed = timed

    def watch(self, progress: Progress) -> None:
        """Print one change."""
        detail = f" ({progress.detail})" if progress.detail else ""
        at = f"[{time.monotonic() - self._began:5.1f} s] " if self._timed else ""
        click.echo(f"{at}{progress.part}: {progress.state}{detail}", err=True)


class LiveLines:
    """One line per part, redrawn while they change."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._parts: dict[str, Progress] = {}

    def watch(self, progress: Progress) -> None:
        """Take one change in."""
        self._parts[progress.part] = progress

    def __rich__(self) -> Table:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        for part in dict.fromkeys((*PARTS, *self._parts)):
            progress = self._parts.get(part)
            state = progress.state if progress else "waiting"
            mark = _MARKS.get(state)
            icon = Text(mark[0], style=mark[1]) if mark else Spinner("dots", style="cyan")
            grid.add_row(icon, Text(part, style="bold"), Text(state), Text(progress.detail if progress else ""))
        grid.add_row(Text(""), Text(f"{time.monotonic() - self._began:.0f} s", style="bright_black"))
        return grid


def print_report(report: Report, model: str, *, stop: str) -> None:
    """Tell how to use what runs: a panel on a terminal, plain lines elsewhere."""
    if not sys.stdout.isatty():
        for name, value in _facts(report):
            click.echo(f"{name + ':':<16} {value}")
        click.echo(f"\n{curl(report, model)}\n")
        return
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, value in _facts(report):
        grid.add_row(Text(name, style="bright_black"), Text(value, style="bold", overflow="fold"))
    grid.add_row()
    for name, command in (
        ("talk to it", f"yunhe chat {model}"),
        ("see what it cost", "yunhe usage"),
        ("stop it", stop),
    ):
        grid.add_row(Text(name, style="bright_black"), Text(command, style="cyan"))
    Console().print(
        Panel(grid, title="[bold]Yunhe is ready[/]", title_align="left", border_style="green", expand=False)
    )
    # Outside the panel and never wrapped: it is there to be copied.
    click.echo(f"{curl(report, model)}\n")


def _facts(report: Report) -> list[tuple[str, str]]:
    facts = [
        ("console", report.console_url),
        ("base URL", report.base_url),
        ("API key", report.api_key or "make one: yunhe key create NAME"),
    ]
    if report.admin_password:
        facts += [
            ("admin user", report.admin_user or ""),
            ("admin password", f"{report.admin_password}   (shown once; keep it)"),
        ]
    return [*facts, ("data", report.data_dir)]


def curl(report: Report, model: str) -> str:
    """A line to paste that streams an answer."""
    body = f'{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Say hello."}}]}}'
    return (
        f"curl -N {report.base_url}/chat/completions -H 'Authorization: Bearer {report.api_key or 'KEY'}' \\\n"
        f"  -H 'Content-Type: application/json' -d '{body}'"
    )
