"""Carrying an install plan out: each step a child process, its output in a log, its progress told."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from yunhe.catalogue.ports import InstallPlan, InstallStep
from yunhe.core.errors import InvalidRequest, YunheError
from yunhe.core.units import bytes_text
from yunhe.drivers.engines.installed import MANIFEST
from yunhe.installer.documents import Begun, Document, Done, Progress

#: A smoke test that takes longer hangs.
SMOKE_LIMIT_S: Final = 60.0
_TAIL_LINES: Final = 12
_CHUNK_BYTES: Final = 1 << 20


class InstallFailed(YunheError):
    """A step of the installation failed."""

    code = "install_failed"
    default_next_step = "Read the log that is named, mend its cause, and run the same command again."


def install(plan: InstallPlan, directory: Path, log: Path, tell: Callable[[Document], None]) -> Done:
    """Carry the plan out below ``directory``, which is emptied first.

    Raises InvalidRequest when a program or disk space is missing, InstallFailed with the log's last lines.
    """
    _check(plan, directory)
    begun_s = time.monotonic()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    total_s = sum(step.expected_s for step in plan.steps)
    past_s = 0.0
    with log.open("w", encoding="utf-8") as out:
        for number, step in enumerate(plan.steps):
            share, width = past_s / total_s, step.expected_s / total_s
            tell(Begun(number + 1, len(plan.steps), step.title, share))
            _run(step, out, log, _told(tell, share, width))
            past_s += step.expected_s
        _smoke(plan, out, log)
    for path in plan.discard:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    digest = _sha256(Path(plan.command[0]))
    manifest = {"name": plan.engine, "version": plan.version, "command": list(plan.command), "digest": digest}
    _write(directory / MANIFEST, {**manifest, "summary": plan.summary, "installed_at": time.time()})
    return Done(plan.engine, plan.version, str(directory), digest, time.monotonic() - begun_s, _size_bytes(directory))


def _told(tell: Callable[[Document], None], share: float, width: float) -> Callable[[float, str], None]:
    """A step's own progress as that of the whole."""
    return lambda done, line: tell(Progress(share + width * done, line))


def _check(plan: InstallPlan, directory: Path) -> None:
    missing = [package for program, package in plan.needs.items() if shutil.which(program) is None]
    if missing:
        raise InvalidRequest(
            f"{plan.engine} needs {', '.join(sorted(plan.needs))}, which this host does not have.",
            next_step=f"Install it (as root: apt-get install {' '.join(missing)}), then run the same command again.",
        )
    there = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < plan.disk_bytes:
        raise InvalidRequest(
            f"{plan.engine} needs {bytes_text(plan.disk_bytes)} while it is installed, {there} has {bytes_text(free)}.",
            next_step="Free disk space, or choose another data directory (YUNHE_HOME).",
        )


def _run(step: InstallStep, out: IO[str], log: Path, told: Callable[[float, str], None]) -> None:
    """One step, its output copied to the log line by line."""
    out.write(f"\n== {step.title}: {' '.join(step.argv)}\n")
    out.flush()
    process = subprocess.Popen(
        step.argv,
        cwd=step.cwd,
        env={**os.environ, **step.env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    pattern = re.compile(step.progress) if step.progress else None
    try:
        with process.stdout:
            for line in process.stdout:
                out.write(line)
                found = pattern.search(line) if pattern else None
                if found:
                    told(min(1.0, int(found["done"]) / max(1, int(found["total"]))), line.strip()[:120])
        code = process.wait()
    except BaseException:
        # The whole group: a compiler's children would else run on.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise
    out.flush()
    if code != 0:
        raise InstallFailed(f"{step.title} ended with status {code}: {_tail(log)}", log=str(log))


def _smoke(plan: InstallPlan, out: IO[str], log: Path) -> None:
    """Raises InstallFailed when the installed program does not even start: wrong instructions, missing libraries."""
    out.write(f"\n== Smoke test: {' '.join(plan.smoke)}\n")
    out.flush()
    try:
        code = subprocess.run(
            plan.smoke, stdout=out, stderr=subprocess.STDOUT, timeout=SMOKE_LIMIT_S, check=False
        ).returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallFailed(f"what was installed does not start: {error}", log=str(log)) from error
    if code != 0:
        how = f"is killed by signal {-code}" if code < 0 else f"ends with status {code}"
        raise InstallFailed(f"what was installed {how}: {_tail(log)}", log=str(log))


def _tail(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return " | ".join(line[:200] for line in lines[-_TAIL_LINES:])


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _size_bytes(directory: Path) -> int:
    return sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file() and not path.is_symlink())


def _write(path: Path, value: dict[str, object]) -> None:
    waiting = path.with_suffix(".new")
    waiting.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    waiting.rename(path)
