"""`yunhe join`: bring this machine's cards into an instance elsewhere."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click

from yunhe.cli.connect import configuration
from yunhe.cli.invocation import local_command
from yunhe.cli.output import note


@click.command("join")
@click.argument("url")
@click.option(
    "--token", envvar="YUNHE_JOIN_TOKEN", help="From `yunhe centre create`, needed once (or YUNHE_JOIN_TOKEN)."
)
@click.option("--driver", default="local", show_default=True, help="How workloads run here.")
@click.option("--home", type=click.Path(path_type=Path), help="Where this centre's agent keeps its state.")
@local_command
def command(url: str, token: str | None, driver: str, home: Path | None) -> None:
    """Run a centre's agent in the foreground until Ctrl-C, which stops its replicas too.

    The agent only connects outwards, to URL. It keeps its identity, so that later starts need no token.
    """
    from yunhe.core.home import Home
    from yunhe.launcher.commands import MODULES, PYTHON
    from yunhe.launcher.run_files import write_private
    from yunhe.sdk.transport import root_of

    try:
        root = root_of(url)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    # Beside, never inside, what `yunhe up` keeps: an agent has one identity.
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", root.partition("://")[2])
    place = Home((home or configuration().settings.home / "joined" / name).expanduser().absolute())
    place.make()
    if token:
        # A file, not an argument: arguments can be read by every user of the machine.
        write_private(place.agent / "join_token", token.encode())
    elif not (place.agent / "identity.json").exists():
        raise click.UsageError("the first start needs --token, from `yunhe centre create NAME` over there")
    note(f"Joining {root} as an agent with driver {driver}; its state is in {place.root}. Ctrl-C stops it.")
    sys.stderr.flush()
    argv = (*PYTHON, MODULES["agent"], "--home", str(place.root), "--control-url", root, "--driver", driver)
    os.execv(argv[0], argv)
