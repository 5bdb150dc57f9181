"""Talking with the installer, a process of its own: its JSON lines as a progress bar, or as they are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from yunhe.cli.errors import CliError
from yunhe.cli.invocation import current
from yunhe.cli.output import note


class InstallerFailed(CliError):
    """The installer has an error to tell."""

    code = "install_failed"


def ask_installer(*arguments: str) -> Iterator[dict[str, Any]]:
    """Its documents as they come. Raises InstallerFailed with its words."""
    argv = (sys.executable, "-P", "-m", "yunhe.installer", *arguments)
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            document = json.loads(line)
            if document["event"] == "failed":
                log = f" The whole log: {document['log']}" if document["log"] else ""
                raise InstallerFailed(document["message"], next_step=f"{document['next_step']}{log}")
            yield document
        if process.wait() != 0:
            raise InstallerFailed(f"the installer ended with status {process.returncode}", next_step="See above.")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def follow(documents: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Show progress on stderr until the last document, which is returned."""
    last: dict[str, Any] = {}
    with _bar() as show:
        for document in documents:
            last = document
            show(document)
    return last


@contextmanager
def _bar() -> Iterator[Any]:
    if current().as_json or not sys.stderr.isatty():
        yield _plain
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(elapsed_when_finished=True), console=Console(stderr=True)) as progress:
        task = progress.add_task("Begin", total=1.0)

        def show(document: dict[str, Any]) -> None:
            if document["event"] == "begun":
                title = f"{document['step']}/{document['steps']} {document['title']}"
                progress.update(task, description=title, completed=document["share"])
            elif document["event"] == "progress":
                progress.update(task, completed=document["share"])
            else:
                progress.update(task, description="Done", completed=1.0)

        yield show


def _plain(document: dict[str, Any]) -> None:
    if document["event"] == "begun" and not current().as_json:
        note(f"{document['step']}/{document['steps']} {document['title']}")
