"""One workload's keeper: started by the local driver as a process of its own, so that it outlives the agent.

``python shim.py DIRECTORY`` reads ``spec.json``, starts the command in a process group of its own, owns its output
(rotated segments below ``log/``, named by the offset at which they begin), ends the whole group when told to
(SIGTERM; grace from ``stop.json``), and writes ``exit.json`` when nothing of it is left. Standard library only, and
run by its path, so that it starts in a few hundredths of a second and weighs little.
"""

import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SEGMENT_BYTES = 4 * 1024 * 1024
SEGMENTS_KEPT = 4
READ_BYTES = 65_536
TICK_S = 0.5
GRACE_S_DEFAULT = 10.0
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


class Log:
    """Appends to segments; the oldest go when there are too many."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        segments = sorted(directory.iterdir())
        self._start = int(segments[-1].name) if segments else 0
        self._file = self._path(self._start).open("ab", buffering=0)
        self._size = self._file.tell()

    def _path(self, start: int) -> Path:
        return self._directory / f"{start:015d}"

    def write(self, data: bytes) -> None:
        """Append, beginning a new segment when this one is full."""
        if self._size + len(data) > SEGMENT_BYTES and self._size:
            self._file.close()
            self._start += self._size
            self._size = 0
            self._file = self._path(self._start).open("ab", buffering=0)
            for old in sorted(self._directory.iterdir())[:-SEGMENTS_KEPT]:
                old.unlink()
        self._file.write(data)
        self._size += len(data)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace the file at once, so that a reader never sees half of it."""
    waiting = path.with_suffix(".new")
    waiting.write_text(json.dumps(value), encoding="utf-8")
    waiting.rename(path)


def children() -> list[int]:
    """Processes whose parent is this one: the command, and what its children left behind."""
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return [int(pid) for pid in text.split()]


def tree_rss_bytes() -> int:
    """Resident anonymous memory of everything below this process; mapped weights do not count."""
    total, queue = 0, children()
    while queue:
        pid = queue.pop()
        try:
            for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1]) * 1024
            queue += [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            continue
    return total


class Keeper:
    """Starts, watches and ends one command."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._spec = json.loads((directory / "spec.json").read_text(encoding="utf-8"))
        self._log = Log(directory / "log")
        self._reason = ""
        self._kill_at: float | None = None
        self._stop_asked = False

    def run(self) -> None:
        """Until nothing of the command is left."""
        _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        output, child_output = os.pipe2(os.O_CLOEXEC)
        try:
            process = self._start(child_output)
        except OSError as error:
            self._log.write(f"cannot start: {error}\n".encode())
            self._finish(127, f"cannot start: {error}")
            return
        finally:
            os.close(child_output)
        write_json(self._directory / "running.json", {"pid": process.pid, "started_at": time.time()})
        self._watch(process, output, wake_read)
        code = process.returncode if process.returncode is not None else process.wait()
        self._end_stragglers()
        self._drain(output)
        self._finish(code, self._reason or (f"killed by signal {-code}" if code < 0 else ""))

    def _start(self, output: int) -> "subprocess.Popen[bytes]":
        cpus = self._spec["cpus"]

        def before_exec() -> None:
            _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if cpus:
                os.sched_setaffinity(0, cpus)

        return subprocess.Popen(
            self._spec["argv"],
            env=self._spec["env"],
            cwd=self._directory / "work",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=before_exec,
        )

    def _watch(self, process: "subprocess.Popen[bytes]", output: int, wake: int) -> None:
        os.set_blocking(output, False)
        selector = selectors.DefaultSelector()
        selector.register(output, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        limit = self._spec["memory_bytes"]
        while process.poll() is None:
            for ready, _ in selector.select(TICK_S):
                if ready.fd == wake:
                    os.read(wake, READ_BYTES)
                elif not self._copy(output):
                    selector.unregister(output)
            if self._stop_asked and self._kill_at is None:
                self._begin_stop(process.pid)
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._signal(process.pid, signal.SIGKILL)
            if limit is not None and not self._reason and tree_rss_bytes() > limit:
                self._reason = f"out of memory: more than {limit} bytes"
                self._signal(process.pid, signal.SIGKILL)

    def _begin_stop(self, group: int) -> None:
        try:
            grace_s = float(json.loads((self._directory / "stop.json").read_text(encoding="utf-8"))["grace_s"])
        except (OSError, ValueError, KeyError):
            grace_s = GRACE_S_DEFAULT
        self._reason = self._reason or "stopped"
        self._kill_at = time.monotonic() + grace_s
        self._signal(group, signal.SIGTERM)

    def _on_stop(self, *_: object) -> None:
        self._stop_asked = True

    def _signal(self, group: int, number: int) -> None:
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return

    def _end_stragglers(self) -> None:
        """Kill what the command left behind in other groups; as subreaper we inherit all of it."""
        deadline = time.monotonic() + 5.0
        while (left := children()) and time.monotonic() < deadline:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                except (ProcessLookupError, ChildProcessError):
                    continue

    def _copy(self, output: int) -> bool:
        try:
            data = os.read(output, READ_BYTES)
        except BlockingIOError:
            return True
        self._log.write(data)
        return bool(data)

    def _drain(self, output: int) -> None:
        while True:
            try:
                data = os.read(output, READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                return
            self._log.write(data)

    def _finish(self, code: int, reason: str) -> None:
        write_json(self._directory / "exit.json", {"exit_code": code, "reason": reason, "at": time.time()})


if __name__ == "__main__":
    Keeper(Path(sys.argv[1])).run()
