"""`yunhe down`: stop everything."""

from __future__ import annotations

from dataclasses import asdict

import click

from yunhe.cli.connect import configuration
from yunhe.cli.invocation import current, local_command
from yunhe.cli.output import emit_json, note


@click.command("down")
@local_command
def command() -> None:
    """Stop the instance of this data directory, replicas included.

    Running requests get up to 30 seconds to finish. Works too when the launcher itself was killed.
    """
    from yunhe.cli.starting import PlainLines
    from yunhe.core.home import Home
    from yunhe.launcher.down import down

    home = Home(configuration().settings.home)
    report = down(home, PlainLines(timed=False).watch)
    if current().as_json:
        emit_json(asdict(report))
    elif report.was_running:
        note(f"Stopped: {', '.join(report.stopped)}.")
    else:
        note(f"Nothing was running in {report.data_dir}.")
