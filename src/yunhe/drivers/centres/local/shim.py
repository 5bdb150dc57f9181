"""One workload's keeper: started by the local driver as a process of its own, so that it outlives the agent.

``python shim.py DIRECTORY`` reads ``spec.json``, starts the command in a session of its own, owns its output (see
``Log``), ends the whole group when told to (SIGTERM; grace from ``stop.json``), and writes ``exit.json`` when nothing
of it is left. It holds a lock on ``keeper.lock``, so that two never keep the same workload. Standard library only, and
run by its path, so that it starts in a few hundredths of a second and weighs little.
"""

import ctypes
import fcntl
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
#: Kept on disk for the report of the end, should the log or others have filled it by then.
RESERVE_BYTES = 4096
TICK_S = 0.5
GRACE_S_DEFAULT = 10.0
STRAGGLERS_S = 5.0
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


class Log:
    """Appends to segments named by the offset at which they begin; the oldest go when there are too many.

    A full disk loses output, and says so when there is room again; it never ends the workload.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        segments = sorted(directory.iterdir())
        self._start = int(segments[-1].name) if segments else 0
        self._file = self._open()
        self._size = self._file.tell()
        self._lost = 0

    def _open(self) -> Any:
        return (self._directory / f"{self._start:015d}").open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        """Append, beginning a new segment when this one is full."""
        if self._lost:
            data = f"\n[{self._lost} bytes of output were lost: the disk was full]\n".encode() + data
        try:
            if self._size + len(data) > SEGMENT_BYTES and self._size:
                self._next_segment()
            written = self._file.write(data)
        except OSError:
            written = 0
        self._size += written
        self._lost = self._lost + len(data) - written if written < len(data) else 0

    def _next_segment(self) -> None:
        self._file.close()
        self._start += self._size
        self._size = 0
        self._file = self._open()
        for old in sorted(self._directory.iterdir())[:-SEGMENTS_KEPT]:
            old.unlink()


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace the file at once, so that a reader never sees half of it."""
    waiting = path.with_suffix(".new")
    waiting.write_text(json.dumps(value), encoding="utf-8")
    waiting.rename(path)


def read_json(path: Path) -> dict[str, Any]:
    """The file's object; empty when there is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def children(pid: int) -> list[int]:
    """Processes whose parent that one is."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []


def tree_memory_bytes() -> int:
    """Resident memory of everything below this process that no file backs; mapped weights do not count."""
    total, queue = 0, children(os.getpid())
    while queue:
        pid = queue.pop()
        try:
            for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
                if line.startswith(("RssAnon:", "RssShmem:")):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue
        queue += children(pid)
    return total


class Group:
    """The control group that limits the command's memory, made by the driver; None where there is none."""

    def __init__(self, path: str | None) -> None:
        self.path = Path(path) if path else None

    def enter(self) -> None:
        """Put this process in. Called between fork and exec."""
        if self.path is not None:
            (self.path / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

    def kills(self) -> int:
        """How many of its processes the kernel has killed for memory."""
        if self.path is not None:
            for name in ("memory.events", "memory.oom_control"):
                try:
                    for line in (self.path / name).read_text(encoding="ascii").splitlines():
                        if line.startswith("oom_kill "):
                            return int(line.split()[1])
                except OSError:
                    continue
        return 0

    def remove(self) -> None:
        """Drop the empty group."""
        if self.path is not None:
            try:
                self.path.rmdir()
            except OSError:
                return


class Keeper:
    """Starts, watches and ends one command."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._spec = read_json(directory / "spec.json")
        self._log = Log(directory / "log")
        self._group = Group(self._spec["cgroup"])
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
        self._introduce()
        self._note("reserve", {"room": "x" * RESERVE_BYTES})
        # Whoever asked before the introduction could not signal us.
        if (self._directory / "stop.json").exists():
            self._finish(None, "stopped")
            return
        output, child_output = os.pipe2(os.O_CLOEXEC)
        try:
            process = self._start(child_output)
        except (OSError, subprocess.SubprocessError) as error:
            self._log.write(f"cannot start: {error}\n".encode())
            self._finish(127, f"cannot start: {error}")
            return
        finally:
            os.close(child_output)
        self._note("running.json", {"pid": process.pid, "started_at": time.time()})
        self._watch(process, output, wake_read)
        code = process.wait()
        self._end_stragglers()
        while data := self._read(output):
            self._log.write(data)
        if self._group.kills() and not self._stop_asked:
            self._reason = f"out of memory: its limit is {self._spec['memory_bytes']} bytes"
        self._finish(code, self._reason or (f"killed by signal {-code}" if code < 0 else ""))

    def _introduce(self) -> None:
        fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        self._note("keeper.json", {"pid": os.getpid(), "start_ticks": int(fields[19]), "boot_id": boot_id})

    def _start(self, output: int) -> "subprocess.Popen[bytes]":
        cpus, keeper = self._spec["cpus"], os.getpid()

        def before_exec() -> None:
            _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != keeper:
                os._exit(127)
            if cpus:
                os.sched_setaffinity(0, cpus)
            self._group.enter()

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
        limit = self._spec["memory_bytes"] if self._group.path is None else None
        while process.poll() is None:
            for ready, _ in selector.select(TICK_S):
                if ready.fd == wake:
                    os.read(wake, READ_BYTES)
                elif data := self._read(output):
                    self._log.write(data)
                elif data is not None:
                    selector.unregister(output)
            self._reap_strangers(process.pid)
            if self._stop_asked:
                self._stop_asked = False
                self._begin_stop(process.pid)
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._kill(process.pid)
            if limit is not None and not self._reason and tree_memory_bytes() > limit:
                self._reason = f"out of memory: more than its limit of {limit} bytes"
                self._kill(process.pid)
            if not self._directory.exists():
                self._reason = "its directory was removed, so nobody could ever stop it"
                self._kill(process.pid)
        self._stop_asked = self._kill_at is not None

    def _begin_stop(self, group: int) -> None:
        grace_s = float(read_json(self._directory / "stop.json").get("grace_s", GRACE_S_DEFAULT))
        self._reason = self._reason or "stopped"
        if self._kill_at is None:
            self._signal(group, signal.SIGTERM)
        self._kill_at = min(self._kill_at or float("inf"), time.monotonic() + grace_s)

    def _on_stop(self, *_: object) -> None:
        self._stop_asked = True

    def _kill(self, group: int) -> None:
        self._signal(group, signal.SIGKILL)

    def _signal(self, group: int, number: int) -> None:
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return

    def _reap_strangers(self, own: int) -> None:
        """Collect orphans of the command that were handed to us and have ended."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None or ended.si_pid == own:
                    return
                os.waitpid(ended.si_pid, os.WNOHANG)
            except ChildProcessError:
                return

    def _end_stragglers(self) -> None:
        """Kill what the command left behind in whatever group; as subreaper we inherit all of it."""
        deadline = time.monotonic() + STRAGGLERS_S
        while (left := children(os.getpid())) and time.monotonic() < deadline:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, os.WNOHANG)
                except (ProcessLookupError, ChildProcessError):
                    continue
            time.sleep(0.002)

    def _read(self, output: int) -> bytes | None:
        """Some output: None when there is none now, empty when there will never be more."""
        try:
            return os.read(output, READ_BYTES)
        except BlockingIOError:
            return None

    def _finish(self, code: int | None, reason: str) -> None:
        self._group.remove()
        (self._directory / "reserve").unlink(missing_ok=True)
        self._note("exit.json", {"exit_code": code, "reason": reason, "at": time.time()})

    def _note(self, name: str, value: dict[str, Any]) -> None:
        try:
            write_json(self._directory / name, value)
        except OSError as error:
            # Full disk or removed directory: the command must be watched all the same.
            print(f"cannot write {name}: {error}", file=sys.stderr, flush=True)


def main() -> None:
    """Keep the workload of the directory, unless somebody does or did."""
    directory = Path(sys.argv[1])
    with (directory / "keeper.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if not (directory / "exit.json").exists():
            Keeper(directory).run()


if __name__ == "__main__":
    main()
