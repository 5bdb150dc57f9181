"""Children that end, hang and come back, as real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from yunhe.launcher.child import Child
from yunhe.launcher.commands import ChildSpec
from yunhe.launcher.processes import is_alive


def spec(tmp_path: Path, program: str, *, grace_s: float = 20.0) -> ChildSpec:
    argv = (sys.executable, "-c", program)
    return ChildSpec("stand-in", argv, dict(os.environ), tmp_path / "stand-in.out", grace_s=grace_s)


class Changes:
    """Lets a test wait for the child's next change instead of for time to pass."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def __call__(self) -> None:
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await self._changed.wait()
                self._changed.clear()


async def test_killed_child_is_started_again_and_stopped_at_the_end(tmp_path: Path) -> None:
    changes = Changes()
    child = Child(spec(tmp_path, "import signal; signal.pause()"), changes)
    child.start()
    await changes.until(lambda: child.process is not None)
    first = child.process
    assert first is not None
    os.kill(first.id.pid, signal.SIGKILL)
    await changes.until(lambda: child.process is not None and child.process != first)
    assert child.last_end == "killed by SIGKILL"
    second = child.process
    assert second is not None
    assert await child.stop() is False, "SIGTERM ended it, not its own exit"
    assert not is_alive(first.id)
    assert not is_alive(second.id)


async def test_child_that_keeps_failing_counts_its_failures_and_leaves_its_words(tmp_path: Path) -> None:
    changes = Changes()
    child = Child(spec(tmp_path, "import sys; sys.exit('cannot start')"), changes)
    child.start()
    await changes.until(lambda: child.failures >= 3)
    assert child.last_end == "exit status 1"
    await child.stop()
    assert "cannot start" in (tmp_path / "stand-in.out").read_text()


async def test_child_that_ignores_the_signal_is_killed_after_the_grace(tmp_path: Path) -> None:
    changes = Changes()
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    program = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"open({str(ready)!r}, 'w').write('x')\n"
        "while True: signal.pause()"
    )
    child = Child(spec(tmp_path, program, grace_s=0.2), changes)
    child.start()
    await asyncio.to_thread(ready.read_text)
    running = child.process
    assert running is not None
    assert await child.stop() is False
    assert child.last_end == "killed by SIGKILL"
    assert not is_alive(running.id)


async def test_child_that_ends_well_when_asked_is_clean(tmp_path: Path) -> None:
    changes = Changes()
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    program = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        f"open({str(ready)!r}, 'w').write('x')\n"
        "while True: signal.pause()"
    )
    child = Child(spec(tmp_path, program), changes)
    child.start()
    await asyncio.to_thread(ready.read_text)
    assert await child.stop() is True


async def test_child_waiting_for_its_next_start_is_not_started_any_more(tmp_path: Path) -> None:
    changes = Changes()
    child = Child(spec(tmp_path, "raise SystemExit(1)"), changes)
    child.start()
    await changes.until(lambda: child.failures >= 2)
    await child.stop()
    assert child.process is None


async def test_files_that_a_child_makes_are_its_owners_only(tmp_path: Path) -> None:
    changes = Changes()
    child = Child(spec(tmp_path, f"open({str(tmp_path / 'made')!r}, 'w').close()"), changes)
    child.start()
    await changes.until(lambda: child.failures >= 1)
    await child.stop()
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0
