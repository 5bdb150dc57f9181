"""The table of commands, and what loading them costs."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from yunhe.cli.exits import status_for
from yunhe.cli.main import SECTIONS, cli, main

ENTRIES = [entry for section in SECTIONS for entry in section.entries]
#: What makes a start slow; none of it may be loaded to answer --help.
HEAVY = {"httpx", "pydantic", "pydantic_settings", "rich", "psutil", "msgspec", "asyncio", "importlib.metadata"}


def leaves(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path, command


ALL = [
    leaf
    for entry in ENTRIES
    for leaf in leaves(importlib.import_module(f"yunhe.cli.{entry.module}").command, (entry.name,))
]


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) for path, _ in ALL])
def test_every_command_has_help_and_speaks_json(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--debug" in options
    assert "--json" in options
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0


def test_help_names_every_command_without_loading_any() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    assert all(entry.help in result.output for entry in ENTRIES)


def test_nothing_heavy_is_loaded_for_help() -> None:
    modules = [f"yunhe.cli.{entry.module}" for entry in ENTRIES]
    program = (
        "import importlib, json, sys\n"
        "import yunhe.cli.main\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # Processes of tests may be measured for coverage and the like; what we import ourselves is what counts.
    assert HEAVY & set(json.loads(done.stdout)) == set()


def test_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-thing"]) == 2
    assert "no-such-thing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "http_status", "exit_status"),
    [
        ("not_found", 404, 3),
        ("no_such_replica", 404, 3),
        ("not_running", None, 3),
        ("not_signed_in", 401, 4),
        ("forbidden", 403, 4),
        ("out_of_credit", 429, 5),
        ("quota_exceeded", 429, 5),
        ("still_pending", None, 6),
        ("bad_config", 500, 2),
        ("conflict", 409, 1),
        ("unavailable", 503, 1),
        ("unreachable", None, 1),
    ],
)
def test_error_leads_to_its_exit_status(code: str, http_status: int | None, exit_status: int) -> None:
    assert status_for(code, http_status) == exit_status
