"""Which build of an engine a candidate ran: its version, and the digest of the file that makes it what it is."""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import Final

import psutil

from yunhe.adapt.adaptation import Noted
from yunhe.adapt.candidates import Candidate
from yunhe.agent.tuning.host import family
from yunhe.agent.tuning.stage import Running
from yunhe.catalogue.ports import ENGINE_KEY, Engine

#: Stands for the directories of this host, which are nobody's business and differ elsewhere.
PLACE: Final = "@HERE@"
_CHUNK_BYTES: Final = 1 << 20


def note(candidate: Candidate, engine: Engine, running: Running) -> Noted:
    """What the recipe says of the engine. Reads the engine's files: call it off the event loop."""
    key = running.api_key
    argv = tuple(ENGINE_KEY if key and word == key else _without_place(word) for word in running.plan.argv)
    files = [path for path in _files(running) if path.is_file()]
    return Noted(
        candidate=candidate.id,
        argv=argv,
        env=dict(running.plan.env),
        build_version=f"{engine.name} {engine.version}",
        build_digest=_digest(files),
        at_s=time.time(),
    )


def _without_place(word: str) -> str:
    """An absolute path keeps its last part."""
    return f"{PLACE}/{Path(word).name}" if word.startswith("/") else word


def _files(running: Running) -> list[Path]:
    """Programs and shared libraries that the replica has mapped, system libraries left out; sorted by name."""
    found: set[Path] = set()
    for process in family(running.pid) if running.pid is not None else ():
        try:
            found.add(Path(process.exe()))
            found |= {Path(entry.path) for entry in process.memory_maps() if ".so" in entry.path}
        except (psutil.Error, OSError):
            continue
    others = ("/usr/lib", "/lib", sys.base_prefix)
    own = [path for path in found if not str(path).startswith(others)]
    return sorted(own, key=lambda path: (path.name, str(path)))


def _digest(files: list[Path]) -> str:
    """sha256 over the names and contents, hexadecimal; paths do not count, so that two hosts can agree."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()
