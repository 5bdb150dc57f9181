"""`yunhe logs`: logs of replicas, and of this machine's own processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from yunhe.cli.connect import client, configuration
from yunhe.cli.errors import CliError
from yunhe.cli.invocation import current, remote_command
from yunhe.cli.output import emit_json

if TYPE_CHECKING:
    from yunhe.sdk import Client

PROCESSES: Final = ("control", "gateway", "agent", "launcher")
POLL_S: Final = 0.5
PIECE_BYTES: Final = 65_536


class NoLog(CliError):
    """There is no such log."""

    code = "not_found"


@click.command("logs")
@click.argument("name", metavar="REPLICA|control|gateway|agent|launcher")
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0, 10_000), default=100, show_default=True, help="Last lines to show."
)
@remote_command
def command(name: str, follow: bool, lines: int) -> None:
    """Show a log.

    Logs of control, gateway, agent and launcher are read from this machine's data directory; a replica's come through
    the API, from whichever centre it runs in.
    """
    if current().as_json and follow:
        raise click.UsageError("--json shows what is there; it cannot follow")
    if name.partition("-")[0] in PROCESSES:
        _files(name, follow, lines)
    else:
        with client() as api:
            _replica(api, name, follow, lines)


def _files(name: str, follow: bool, lines: int) -> None:
    from yunhe.core.home import Home
    from yunhe.launcher.logs import tail

    folder = Home(configuration().settings.home).logs
    # .log is what a process writes down, .out what it or a library in it cried out.
    found = {
        path for end in ("log", "out") for path in (*folder.glob(f"{name}.{end}"), *folder.glob(f"{name}-*.{end}"))
    }
    paths = sorted(path for path in found if path.stat().st_size > 0)
    if not paths:
        raise NoLog(f"there is no log of {name} in {folder}", next_step="Start an instance: yunhe up")
    last = {path: tail(path, lines) for path in paths}
    if current().as_json:
        emit_json({path.name: list(text) for path, text in last.items()})
        return
    offsets = {path: path.stat().st_size for path in paths}
    for path, text in last.items():
        _print(path, text, several=len(paths) > 1)
    while follow:
        time.sleep(POLL_S)
        for path in paths:
            offsets[path] = follow_file(path, offsets[path], several=len(paths) > 1)


def follow_file(path: Path, offset: int, *, several: bool) -> int:
    """Print whole lines after ``offset``; the next offset."""
    try:
        # Shorter than before: it was rotated, so what is there is new.
        start = offset if path.stat().st_size >= offset else 0
        with path.open("rb") as file:
            file.seek(start)
            whole, newline, _ = file.read(PIECE_BYTES).rpartition(b"\n")
    except FileNotFoundError:
        return 0
    if not newline:
        return start
    _print(path, tuple(whole.decode("utf-8", "replace").split("\n")), several=several)
    return start + len(whole) + 1


def _print(path: Path, lines: tuple[str, ...], *, several: bool) -> None:
    for line in lines:
        click.echo(f"{path.name}  {line}" if several else line)


def _replica(api: Client, replica_id: str, follow: bool, lines: int) -> None:
    text, offset = _read_on(api, replica_id, 0)
    shown = text.splitlines()[-lines:] if lines else []
    if current().as_json:
        emit_json({replica_id: shown})
        return
    for line in shown:
        click.echo(line)
    while follow:
        time.sleep(POLL_S)
        text, offset = _read_on(api, replica_id, offset)
        click.echo(text, nl=False)


def _read_on(api: Client, replica_id: str, offset: int) -> tuple[str, int]:
    """Everything from ``offset`` to the log's present end, and where that is."""
    pieces = []
    while True:
        piece = api.replicas.log(replica_id, offset=offset, limit_bytes=PIECE_BYTES)
        pieces.append(piece.text)
        if piece.end or piece.next_offset == offset:
            return "".join(pieces), piece.next_offset
        offset = piece.next_offset
