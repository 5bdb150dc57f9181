"""The machine: Python, processor, memory, clock, open files, isolation."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from yunhe.core.home import Home
from yunhe.core.units import GIB, MIB, bytes_text
from yunhe.launcher.checks.finding import Finding

PYTHON_MIN: Final = (3, 11)
MEMORY_FAIL_BYTES: Final = 400 * MIB
MEMORY_WARN_BYTES: Final = GIB
#: Streams hold two descriptors each; below this a few hundred clients exhaust them.
OPEN_FILES_MIN: Final = 4096
#: Earlier than this release was made: the clock is wrong.
CLOCK_EARLIEST_S: Final = 1_790_000_000.0
CLOCK_SKEW_S: Final = 300.0


def check_python() -> Iterator[Finding]:
    """Version and system."""
    version = platform.python_version()
    if sys.version_info < PYTHON_MIN:
        yield Finding("python", "fail", f"Python {version}", "Install Python 3.11 or newer and make .venv again.")
    elif sys.platform != "linux":
        yield Finding("python", "fail", f"{platform.system()}, not Linux", "Run Yunhe on Linux.")
    else:
        yield Finding("python", "ok", f"Python {version} on {platform.system()} {platform.release()}")


def check_cpu() -> Iterator[Finding]:
    """What the processor can do, as far as engines care."""
    yield cpu_finding(platform.machine(), cpu_flags(Path("/proc/cpuinfo").read_text(encoding="utf-8")))


def cpu_flags(cpuinfo: str) -> frozenset[str]:
    """The first processor's feature flags."""
    line = next((line for line in cpuinfo.splitlines() if line.startswith(("flags", "Features"))), "")
    return frozenset(line.partition(":")[2].split())


def cpu_finding(machine: str, flags: frozenset[str]) -> Finding:
    """What these flags mean for speed."""
    cores = len(os.sched_getaffinity(0))
    if machine == "x86_64" and "avx2" not in flags:
        return Finding(
            "cpu",
            "fail",
            f"{cores} cores of {machine} without AVX2",
            "The default engine needs AVX2. Use another machine, or bring in a server that runs elsewhere: "
            "yunhe deployment create --external URL --model NAME",
        )
    notes = [name for name, flag in (("AVX2", "avx2"), ("AVX-512", "avx512f"), ("AMX", "amx_tile")) if flag in flags]
    # Measured, facts of the default engine's wheel: it is built for AVX2 and leaves the rest unused.
    unused = [name for name in notes if name != "AVX2"]
    text = f"{cores} cores of {machine}" + (f" with {', '.join(notes)}" if notes else "")
    return Finding("cpu", "ok", text + (f" (the default engine does not use {', '.join(unused)})" if unused else ""))


def check_memory() -> Iterator[Finding]:
    """Memory that is available now."""
    info = Path("/proc/meminfo").read_text(encoding="utf-8")
    values = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in info.splitlines() if line.split()[1:]}
    yield memory_finding(values["MemAvailable"], values["MemTotal"])


def memory_finding(available_bytes: int, total_bytes: int) -> Finding:
    """Whether that is enough for the processes and the default model."""
    text = f"{bytes_text(available_bytes)} of {bytes_text(total_bytes)} available"
    if available_bytes < MEMORY_FAIL_BYTES:
        return Finding("memory", "fail", text, "Free memory: the default model and its processes need about 1 GiB.")
    if available_bytes < MEMORY_WARN_BYTES:
        return Finding("memory", "warn", text, "Free memory, or run fewer gateway workers (--workers 1).")
    return Finding("memory", "ok", text)


def check_clock(home: Home) -> Iterator[Finding]:
    """Whether the clock can be right: keys, prices and usage carry its time."""
    newest_s = max((path.stat().st_mtime for path in (home.database, home.credentials) if path.exists()), default=0.0)
    yield clock_finding(time.time(), newest_s)


def clock_finding(now_s: float, newest_file_s: float) -> Finding:
    """Compare with this release's date and with the newest file that an instance wrote."""
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    remedy = "Set the clock (chrony, systemd-timesyncd): keys expire and usage is billed by it."
    if now_s < CLOCK_EARLIEST_S:
        return Finding("clock", "fail", f"{text} is before this release was made", remedy)
    if newest_file_s > now_s + CLOCK_SKEW_S:
        return Finding("clock", "warn", f"{text} is before the instance's own newest file", remedy)
    return Finding("clock", "ok", text)


def check_open_files() -> Iterator[Finding]:
    """How many files and connections a process may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES_MIN:
        yield Finding(
            "open files",
            "warn",
            f"at most {soft} per process",
            f"Raise it before `yunhe up`: ulimit -n {OPEN_FILES_MIN if hard < 0 else min(max(hard, soft), 65_536)}",
        )
    else:
        yield Finding("open files", "ok", f"at most {'unlimited' if soft < 0 else soft} per process")


def check_isolation() -> Iterator[Finding]:
    """What the local centre can hold workloads in with."""
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    cgroup = controllers.exists() and os.access("/sys/fs/cgroup", os.W_OK)
    sandbox = shutil.which("bwrap")
    found = f"cgroup v2 {'writable' if cgroup else 'not writable'}; bubblewrap {'found' if sandbox else 'not found'}"
    if cgroup or sandbox:
        yield Finding("isolation", "ok", found)
    else:
        yield Finding(
            "isolation",
            "warn",
            found,
            "Replicas run as process groups whose memory is watched, which is enough for one's own models. "
            "For strangers' jobs install bubblewrap or give this user a delegated cgroup.",
        )
