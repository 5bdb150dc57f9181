"""One supervisor per data directory: an advisory lock that ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from yunhe.core.home import Home
from yunhe.launcher.errors import AlreadyRunning
from yunhe.launcher.run_files import read_up


@contextmanager
def held(home: Home) -> Iterator[None]:
    """Hold the lock. Raises AlreadyRunning, saying what runs and where."""
    descriptor = os.open(home.run / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise already_running(home) from None
        yield
    finally:
        os.close(descriptor)


def already_running(home: Home) -> AlreadyRunning:
    """The error that names what runs in ``home``."""
    record = read_up(home)
    if record is None:
        return AlreadyRunning(f"an instance is just starting or stopping in {home.root}")
    return AlreadyRunning(
        f"an instance runs in {home.root} already: {record.console_url} (pid {record.process.pid}, {record.state})",
        pid=record.process.pid,
        console_url=record.console_url,
        base_url=record.base_url,
        data_dir=str(home.root),
    )
