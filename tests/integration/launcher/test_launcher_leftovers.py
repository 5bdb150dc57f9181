"""Finding and stopping processes by who they are, not by their pid alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from yunhe.core.home import Home
from yunhe.launcher.leftovers import find, stop_leftovers
from yunhe.launcher.processes import NamedProcess, ProcessId, identify, is_alive, send, stop, wait_gone
from yunhe.launcher.run_files import write_processes

PAUSE = "import signal, sys; print('up', flush=True); signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile 1: signal.pause()"
)


class Zoo:
    """Stand-in processes; all are gone after the test."""

    def __init__(self) -> None:
        self.all: list[subprocess.Popen[bytes]] = []

    def start(self, program: str, *arguments: str) -> ProcessId:
        child = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE)
        self.all.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        identity = identify(child.pid)
        assert identity is not None
        return identity


@pytest.fixture
def zoo() -> Iterator[Zoo]:
    made = Zoo()
    yield made
    for child in made.all:
        child.kill()
        child.communicate()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.make()
    return made


def test_same_pid_with_another_start_time_is_another_process(zoo: Zoo) -> None:
    process = zoo.start(PAUSE)
    earlier = replace(process, start_ticks=process.start_ticks - 1)
    assert is_alive(process)
    assert not is_alive(earlier)
    assert send(earlier, signal.SIGKILL) is False
    assert is_alive(process)
    assert not is_alive(replace(process, boot_id="another boot"))


def test_zombie_counts_as_gone(zoo: Zoo) -> None:
    process = zoo.start(PAUSE)
    os.kill(process.pid, signal.SIGKILL)
    assert wait_gone([process], 10) == []
    assert identify(process.pid) is None


def test_stubborn_process_is_killed_after_the_grace(zoo: Zoo) -> None:
    willing, stubborn = zoo.start(PAUSE), zoo.start(STUBBORN)
    assert stop([willing, stubborn], signal.SIGTERM, grace_s=0.2) == []
    assert not is_alive(willing)
    assert not is_alive(stubborn)


def test_leftovers_are_found_by_run_file_and_by_command_line(zoo: Zoo, home: Home, tmp_path: Path) -> None:
    written = zoo.start(PAUSE)
    write_processes(home, [NamedProcess("control", written), NamedProcess("agent", replace(written, pid=1))])
    unwritten = zoo.start(PAUSE, "-m", "yunhe.gateway", "--home", str(home.root), "--worker", "1")
    neighbour = zoo.start(PAUSE, "-m", "yunhe.gateway", "--home", str(tmp_path / "other"), "--worker", "1")
    assert find(home) == [NamedProcess("control", written), NamedProcess("gateway-1", unwritten)]
    stopped = stop_leftovers(home, workloads=False)
    assert (stopped.names, stopped.remaining) == (("control", "gateway-1"), ())
    assert not is_alive(written)
    assert not is_alive(unwritten)
    assert is_alive(neighbour)
