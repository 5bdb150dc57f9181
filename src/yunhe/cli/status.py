"""`yunhe status`: what runs, and how each part fares."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from yunhe.cli.connect import client, configuration
from yunhe.cli.errors import NotRunning
from yunhe.cli.invocation import current, remote_command
from yunhe.cli.output import Column, emit_json, emit_list, note
from yunhe.cli.texts import ago

if TYPE_CHECKING:
    from yunhe.launcher.run_files import UpRecord
    from yunhe.sdk.status import Part, Status

COLUMNS: tuple[Column[Part], ...] = (
    Column("part", lambda part: part.name),
    Column("kind", lambda part: part.kind),
    Column("state", lambda part: part.state),
    Column("detail", lambda part: part.detail),
    Column("next step", lambda part: part.next_step),
)


@click.command("status")
@remote_command
def command() -> None:
    """What runs on this machine (or at --url), and how each part fares.

    Exit status 3 when nothing runs.
    """
    if current().url is not None:
        with client() as api:
            _show({"running": True, "url": api.root}, api.instance.status(), problem="")
        return
    record = local_instance()
    facts = {
        "running": True,
        "state": record.state,
        "pid": record.process.pid,
        "console_url": record.console_url,
        "base_url": record.base_url,
        "data_dir": str(configuration().settings.home),
        "started_at": record.started_at,
        "processes": processes(),
    }
    status, problem = _ask(record)
    _show(facts, status, problem)


def local_instance() -> UpRecord:
    """What runs in this machine's data directory. Raises NotRunning."""
    from yunhe.core.home import Home
    from yunhe.launcher.processes import is_alive
    from yunhe.launcher.run_files import read_up

    home = Home(configuration().settings.home)
    record = read_up(home)
    if record is None or not is_alive(record.process):
        left = [process["name"] for process in processes()]
        if left:
            raise NotRunning(
                f"the launcher of {home.root} was killed; these still run: {', '.join(left)}",
                next_step="Take over with `yunhe up`, or stop them with `yunhe down`.",
            )
        raise NotRunning(f"nothing runs in {home.root}", next_step="Start it with `yunhe up`.")
    return record


def processes() -> list[dict[str, Any]]:
    """Living processes of this machine's instance: name and pid."""
    from yunhe.core.home import Home
    from yunhe.launcher.leftovers import find

    home = Home(configuration().settings.home)
    return [{"name": process.name, "pid": process.id.pid} for process in find(home)]


def _ask(record: UpRecord) -> tuple[Status | None, str]:
    from yunhe.cli.connect import connection
    from yunhe.cli.errors import NoInstance
    from yunhe.sdk import ApiError, Client

    try:
        found = connection()
        with Client(record.base_url, found.manage_key, timeout_s=5.0, retries=0) as api:
            return api.instance.status(), ""
    except (ApiError, NoInstance) as error:
        return None, error.message


def _show(facts: dict[str, Any], status: Status | None, problem: str) -> None:
    if current().as_json:
        document = {
            **facts,
            "healthy": status.healthy if status else False,
            "version": status.version if status else None,
            "parts": [part.model_dump(mode="json") for part in status.parts] if status else [],
            "problem": problem or None,
        }
        emit_json(document)
        return
    note("healthy" if status and status.healthy else "NOT healthy")
    for name in ("url", "console_url", "base_url", "data_dir", "pid", "state"):
        if name in facts:
            note(f"{name.replace('_', ' '):12} {facts[name]}")
    if "started_at" in facts:
        note(f"{'started':12} {ago(time.time() - facts['started_at'])}")
    for process in facts.get("processes", []):
        note(f"{process['name']:12} pid {process['pid']}")
    if status is None:
        note(f"The API does not answer: {problem}. Look at `yunhe logs control`.")
        return
    emit_list(status.parts, COLUMNS, empty="")
