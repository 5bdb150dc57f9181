"""One running instance for all acceptance tests: started as a user would, and left without a trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

YUNHE = Path(sys.executable).parent / "yunhe"
START_TIMEOUT_S = 180


@dataclass(frozen=True)
class Shell:
    """A user with a data directory and a configuration of their own."""

    home: Path
    work: Path

    def env(self) -> dict[str, str]:
        """What that user's programs see: nothing of this machine's own Yunhe."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("YUNHE_", "XDG_"))}
        return {**inherited, "YUNHE_HOME": str(self.home), "XDG_CONFIG_HOME": str(self.work / "config")}

    def run(
        self, *arguments: str, stdin: str = "", env: Mapping[str, str] | None = None, timeout_s: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """Run ``yunhe`` with these arguments; never raises for an exit status."""
        return subprocess.run(
            [str(YUNHE), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env={**self.env(), **(env or {})},
            cwd=self.work,
            timeout=timeout_s,
            check=False,
        )

    def json(self, *arguments: str, **options: Any) -> Any:
        """Run ``yunhe ... --json`` and parse what it printed; fails the test when it fails."""
        done = self.run(*arguments, "--json", **options)
        assert done.returncode == 0, f"yunhe {' '.join(arguments)}: {done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def processes(self) -> dict[int, str]:
        """Every process of this data directory: those whose command line, or working directory, names it."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                place = str((entry / "cwd").readlink())
            except OSError:
                continue
            if str(self.home) in f"{command} {place}":
                found[int(entry.name)] = command
        return found


@dataclass(frozen=True)
class Instance(Shell):
    """A running instance and what its first start told."""

    base_url: str
    console_url: str
    api_key: str
    admin_user: str
    admin_password: str
    pid: int


def new_shell(place: Path) -> Shell:
    """A user whose data directory does not exist yet."""
    work = place / "work"
    work.mkdir()
    return Shell(home=place / "home", work=work)


def start(shell: Shell, *options: str) -> dict[str, Any]:
    """Start an instance on a free port and wait until it is ready; what it printed."""
    told: dict[str, Any] = shell.json(
        "up", "--detach", "--port", "0", "--timeout", str(START_TIMEOUT_S), *options, timeout_s=START_TIMEOUT_S + 120
    )
    return told


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A user with nothing running yet; whatever the test starts is stopped."""
    user = new_shell(tmp_path)
    yield user
    done = user.run("down")
    assert done.returncode == 0, done.stderr
    assert user.processes() == {}


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """The instance that acceptance tests share: first start, free port, default model ready."""
    user = new_shell(tmp_path_factory.mktemp("instance"))
    try:
        told = start(user)
        told.pop("data_dir")
        yield Instance(home=user.home, work=user.work, **told)
    finally:
        done = user.run("down")
    assert done.returncode == 0, done.stderr
    assert user.processes() == {}, "an orphan is left"
