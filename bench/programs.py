"""The bench's own C programs: compiled when missing or older than their source, started, read."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".cache" / "bench"
START_TIMEOUT_S = 10.0


def compiled(name: str) -> Path:
    """The program built from ``name.c``. Raises SystemExit with the compiler's words."""
    source, program = HERE / f"{name}.c", CACHE / "bin" / name
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    fresh = program.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", fresh, source], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"cannot compile {source.name} (is gcc installed?):\n{done.stderr}")
    return fresh.replace(program)


def pinned(core: int) -> Callable[[], None]:
    """For ``preexec_fn``: run the child on one core."""
    return lambda: os.sched_setaffinity(0, {core})


def wire_us(core: int) -> float:
    """Microseconds of one send and recv of an event's bytes on this machine; see wire.c."""
    done = subprocess.run([compiled("wire")], capture_output=True, check=True, preexec_fn=pinned(core))
    return float(done.stdout)


class Upstream:
    """The fake engine: port ``burst`` sends a stream's events back to back, port ``paced`` one every 5 ms."""

    def __init__(self, core: int) -> None:
        self.process = subprocess.Popen([compiled("fake_upstream")], stdout=subprocess.PIPE, preexec_fn=pinned(core))
        assert self.process.stdout is not None
        ports = json.loads(self.process.stdout.readline())
        self.burst: int = ports["burst"]
        self.paced: int = ports["paced"]

    def port(self, mode: str) -> int:
        """The port that serves a mode."""
        return self.paced if mode.startswith("paced") else self.burst

    def stats(self) -> dict[str, int]:
        """Counters since its start: requests, of them from_yunhe, streams, events, aborted, tokens; and open."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.burst}/stats", timeout=START_TIMEOUT_S) as answer:
            counters: dict[str, int] = json.load(answer)
        return counters

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


class Load:
    """One run of the load generator: ``window()`` when the measured time begins, ``result()`` when it is over."""

    def __init__(self, core: int, port: int, request: Path, options: dict[str, float]) -> None:
        argv: list[str | Path] = [compiled("load"), "--port", str(port), "--request", request]
        for name, value in options.items():
            argv += [f"--{name}", f"{value:g}"]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(core))

    def _line(self) -> dict[str, Any]:
        stdout: IO[str] | None = self.process.stdout
        assert stdout is not None
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"the load generator ended early with status {self.process.wait()}")
        document: dict[str, Any] = json.loads(line)
        return document

    def window(self) -> None:
        """Returns when the warm-up is over."""
        self._line()

    def result(self) -> dict[str, Any]:
        """What it counted in the window."""
        document = self._line()
        self.process.wait()
        return document
