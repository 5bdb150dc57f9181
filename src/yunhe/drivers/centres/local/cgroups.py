"""Control groups, version 1 or 2: what limits this process, and groups that limit a workload's memory.

Files and meaning: the kernel's Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
MEMBERSHIP: Final = Path("/proc/self/cgroup")
#: Version 1 says "no limit" by a number near 2**63.
_UNLIMITED_BYTES: Final = 1 << 60


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where one controller is mounted, and the group there that this process is in."""

    version: int
    mount: Path
    own: Path

    def upwards(self) -> Iterator[Path]:
        """The own group and those above it; each may limit."""
        path = self.own
        while path != self.mount:
            yield path
            path = path.parent
        yield self.mount


def find(controller: str, root: Path = ROOT, membership: Path = MEMBERSHIP) -> Hierarchy | None:
    """The hierarchy that has the controller; None where groups are not mounted."""
    try:
        lines = membership.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers:
            version, mount = 1, root / controller
            if controller not in controllers.split(","):
                continue
        else:
            version, mount = 2, root if (root / "cgroup.controllers").exists() else root / "unified"
            if controller not in _words(mount / "cgroup.controllers"):
                continue
        if mount.is_dir():
            own = mount / path.lstrip("/")
            # Inside a container the path may be the host's, which is not to be seen here.
            return Hierarchy(version, mount, own if own.is_dir() else mount)
    return None


def memory_limit_bytes(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """The least memory limit over this process; None for none."""
    hierarchy = find("memory", root, membership)
    if hierarchy is None:
        return None
    name = "memory.max" if hierarchy.version == 2 else "memory.limit_in_bytes"
    limits = [int(words[0]) for path in hierarchy.upwards() if (words := _words(path / name)) and words[0].isdigit()]
    return min((limit for limit in limits if limit < _UNLIMITED_BYTES), default=None)


def cpu_limit_cores(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Whole cores that the CPU quota over this process comes to, rounded up; None for no quota."""
    hierarchy = find("cpu", root, membership)
    if hierarchy is None:
        return None
    cores = []
    for path in hierarchy.upwards():
        if hierarchy.version == 2:
            words = _words(path / "cpu.max")
        else:
            words = [*_words(path / "cpu.cfs_quota_us"), *_words(path / "cpu.cfs_period_us")]
        if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]) > 0:
            cores.append(max(1, math.ceil(int(words[0]) / int(words[1]))))
    return min(cores, default=None)


def make_memory_group(name: str, limit_bytes: int, root: Path = ROOT, membership: Path = MEMBERSHIP) -> Path | None:
    """A group with that memory limit beside or below our own; None where we may not make one that limits."""
    hierarchy = find("memory", root, membership)
    if hierarchy is None:
        return None
    # Version 2 gives a group with processes no limited children, so the place beside our own is tried too.
    for parent in dict.fromkeys((hierarchy.own, hierarchy.own.parent)):
        if hierarchy.mount not in (parent, *parent.parents):
            continue
        group = parent / name
        try:
            group.mkdir(exist_ok=True)
            _limit(group, hierarchy.version, limit_bytes)
        except OSError:
            remove(group)
            continue
        return group
    return None


def remove(group: Path) -> None:
    """Drop an empty group; none, or one that is in use, is left alone."""
    try:
        group.rmdir()
    except OSError:
        return


def _limit(group: Path, version: int, limit_bytes: int) -> None:
    text = str(limit_bytes)
    if version == 2:
        _write(group / "memory.max", text)
        optional = {"memory.swap.max": "0", "memory.oom.group": "1"}
    else:
        _write(group / "memory.limit_in_bytes", text)
        optional = {"memory.memsw.limit_in_bytes": text}
    for name, value in optional.items():
        if (group / name).exists():
            _write(group / name, value)


def _write(path: Path, text: str) -> None:
    # A file that is not there must not come into being: in a plain directory it would limit nothing.
    with path.open("r+", encoding="ascii") as file:
        file.write(text)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []
