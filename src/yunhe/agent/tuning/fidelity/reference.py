"""The reference of a model: its own weights at the highest precision that can be had.

Quantised weights in one file are written out at 16 bit, once, into a cache; wider ones are their own reference.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yunhe.agent.tuning.fidelity.server import Progress
from yunhe.agent.tuning.orphans import child_environment
from yunhe.core.errors import InvalidRequest, Unavailable

#: Exit status of the child when weights cannot be read; why is on its standard error.
REFUSED: Final = 4
#: Bound of one conversion: a small model takes seconds, the largest that fit a host an hour.
CONVERSION_LIMIT_S: Final = 7_200.0
#: ``SOURCE-OWN.PRECISION.gguf``: SHA-256 of the file that it was made from, and its own.
_NAME: Final = "{source}-{own}.{precision}.gguf"
_NAME_PATTERN: Final = re.compile(r"[0-9a-f]{64}-(?P<own>[0-9a-f]{64})\.(?P<precision>f16|f32)\.gguf")


class NoReference(InvalidRequest):
    """No reference can be made from these weights."""

    code = "no_reference"
    default_next_step = "Add the model's original weights at 16 bit, and adapt from those."


class ConversionFailed(Unavailable):
    """Writing the reference weights did not end well."""

    code = "reference_conversion_failed"
    default_next_step = "Make room on the agent's disk; then try again."


@dataclass(frozen=True, slots=True)
class ReferenceWeights:
    """A file of reference weights."""

    path: Path
    #: SHA-256 of the file, lower-case hexadecimal.
    digest: str
    #: "F16", "BF16", "F32" ...
    precision: str
    #: False where the model's own file is the reference.
    made: bool


async def reference_weights(
    source: Path, source_digest: str, cache: Path, *, progress: Progress | None = None
) -> ReferenceWeights:
    """The reference for a model's file, from the cache when it is there and whole.

    Progress is in elements of the weights. Takes no time of the event loop: a child process converts, a thread hashes.
    Raises NoReference where a tensor cannot be read, ConversionFailed when the child or the disk fails.
    """
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = await asyncio.to_thread(_cached, cache, source_digest)
    if known is not None:
        return known
    for torn in cache.glob(f"{source_digest}.*.new"):
        # Of an agent that was killed; one adaptation runs at a time.
        torn.unlink(missing_ok=True)
    waiting = cache / f"{source_digest}.{os.getpid()}.new"
    try:
        async with asyncio.timeout(CONVERSION_LIMIT_S):
            digest, precision = await _convert(source, waiting, progress)
        if digest == "wide":
            return ReferenceWeights(source, source_digest, precision, made=False)
        target = cache / _NAME.format(source=source_digest, own=digest, precision=precision.lower())
        waiting.rename(target)
        return ReferenceWeights(target, digest, precision, made=True)
    except TimeoutError:
        raise ConversionFailed(f"not done within {CONVERSION_LIMIT_S:.0f} s", path=str(source)) from None
    except OSError as error:
        raise ConversionFailed(f"{type(error).__name__}: {error}", path=str(source)) from error
    finally:
        waiting.unlink(missing_ok=True)


def _cached(cache: Path, source_digest: str) -> ReferenceWeights | None:
    """A whole file of the cache; a damaged one is removed."""
    for path in sorted(cache.glob(f"{source_digest}-*.gguf")):
        named = _NAME_PATTERN.fullmatch(path.name)
        if named is None:
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest == named["own"]:
            return ReferenceWeights(path, digest, named["precision"].upper(), made=True)
        path.unlink(missing_ok=True)
    return None


async def _convert(source: Path, target: Path, progress: Progress | None) -> tuple[str, str]:
    """Run the child; its last line is the digest (or "wide") and the precision."""
    module = "yunhe.agent.tuning.fidelity.dequantise"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, str(source), str(target)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(),
    )
    assert child.stdout is not None and child.stderr is not None
    last = ("", "")
    said = asyncio.create_task(child.stderr.read())
    try:
        async for line in child.stdout:
            first, _, second = line.decode(errors="replace").strip().partition(" ")
            last = (first, second)
            if progress is not None and first.isdecimal() and second.isdecimal():
                progress(int(first), int(second))
        status = await child.wait()
        reason = (await said).decode(errors="replace").strip()[-300:]
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        said.cancel()
    if status == REFUSED:
        raise NoReference(f"{source.name}: {reason}", path=str(source))
    if status != 0 or not last[1]:
        raise ConversionFailed(f"{source.name}: status {status}: {reason}", path=str(source))
    return last
