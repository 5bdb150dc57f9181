"""Looks into weights files, safely: cheap checks here, the header in a child process, the digest in a thread."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import Final

from yunhe.catalogue.errors import BadWeights
from yunhe.catalogue.header import Header
from yunhe.core.units import MIB

CHILD_TIME_LIMIT_S: Final = 180
_MAGIC: Final = b"GGUF"
#: Magic, version, tensor count, metadata count.
_SMALLEST_BYTES: Final = 24
_CHUNK_BYTES: Final = 4 * MIB


def check_outside(path: Path) -> None:
    """Cheap checks with exact reasons, before any reader sees the file. Raises BadWeights."""
    try:
        if not path.is_file():
            raise BadWeights(
                f"{path} is not a file" if path.exists() else f"there is no file {path} on the server's machine",
                next_step="Give the path of a GGUF file or a model's directory, as the control process sees it.",
            )
        with path.open("rb") as file:
            start = file.read(_SMALLEST_BYTES)
    except PermissionError:
        raise BadWeights(
            f"{path} cannot be read by the server's user", next_step="Let that user read the file, then add it again."
        ) from None
    except (OSError, ValueError) as error:
        raise BadWeights(f"{path} cannot be opened: {error}") from None
    if start[:4] != _MAGIC:
        raise BadWeights(f"{path.name} is not a GGUF file", next_step=_other_step(path))
    if len(start) < _SMALLEST_BYTES:
        raise BadWeights(f"{path.name} is truncated: only {len(start)} bytes")


def _other_step(path: Path) -> str:
    """What to add instead of a file that is none of ours."""
    if path.suffix == ".safetensors":
        return f"Give the directory that holds it and its config.json: {path.parent.name or path.parent}."
    if path.suffix == ".json":
        return "A model's configuration is named config.json; give that file, or its directory."
    return "Give a GGUF file, or a directory with a config.json and safetensors weights; or convert the model to one."


async def read_header(path: Path) -> Header:
    """The header of a GGUF file. Raises BadWeights with the reason."""
    await asyncio.to_thread(check_outside, path)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "yunhe.control.gguf_header",
        str(path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        answer, _ = await asyncio.wait_for(child.communicate(), CHILD_TIME_LIMIT_S)
    except TimeoutError:
        raise BadWeights(f"reading the header of {path.name} took over {CHILD_TIME_LIMIT_S} s") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return _parsed(answer, child.returncode or 0, path.name)


def _parsed(answer: bytes, exit_code: int, name: str) -> Header:
    """The child's answer as a header. Raises BadWeights when it gave a reason or died."""
    try:
        told = json.loads(answer)
    except ValueError:
        raise BadWeights(f"{name} is broken: its header's reader ended with code {exit_code}") from None
    if "error" in told:
        raise BadWeights(f"{name} is truncated or broken: {told['error']}")
    return Header(told["metadata"], told["parameters"], told["quantisation"], told["tokens"], told["tensor_bytes"])


def take_in(source: Path, directory: Path) -> tuple[Path, str, int]:
    """Link or copy a weights file into ``directory`` under its digest: (path, sha256, size in bytes). Blocks.

    A hard link where the file system allows it costs no space; its owner must not change the file in place afterwards
    (the digest would no longer match, and replicas refuse to start). Raises BadWeights when it cannot be read, OSError
    when the directory cannot take it.
    """
    temporary = directory / f".adding-{secrets.token_hex(8)}"
    try:
        digest, size = link_or_copy(source, temporary)
        path = directory / f"{digest}.gguf"
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path, digest, size


def link_or_copy(source: Path, target: Path) -> tuple[str, int]:
    """The file itself under another name, whatever symbolic links lead to it: (sha256, size in bytes). Blocks.

    Raises OSError.
    """
    try:
        # Resolved first: a hard link to a symbolic link would be another symbolic link, which may lead nowhere there.
        os.link(source.resolve(strict=True), target)
    except OSError:
        shutil.copyfile(source, target)
    digest = hashlib.sha256()
    with target.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
        return digest.hexdigest(), file.tell()
