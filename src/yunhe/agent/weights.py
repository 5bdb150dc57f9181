"""From a model's record to a verified file on this host."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

import msgspec

from yunhe.agent import files
from yunhe.catalogue.model import Model
from yunhe.core.errors import InvalidRequest, NotFound

CHUNK_BYTES = 8 * 1024**2


class WeightsMissing(NotFound):
    """The model's weights are not on this host."""

    code = "weights_missing"
    default_next_step = "Install the package that holds them, or add the file again with `yunhe model add PATH`."


class WeightsAltered(InvalidRequest):
    """The model's weights are not what the catalogue says."""

    code = "weights_altered"
    default_next_step = "Restore the original file; its SHA-256 is in `yunhe model show`."


def locate(location: str) -> Path:
    """The file that a location names. A package is found without importing it. Raises WeightsMissing."""
    kind, _, rest = location.partition(":")
    if kind == "file":
        path = Path(rest)
    elif kind == "package":
        package, _, inside = rest.partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise WeightsMissing(f"The package {package} with the model's weights is not installed.", package=package)
        path = Path(next(iter(spec.submodule_search_locations))) / inside
    else:
        raise WeightsMissing(f"Weights at {location!r} cannot be found on a host.", location=location)
    if not path.is_file():
        raise WeightsMissing(f"There is no file {path}.", path=str(path))
    return path


def verified(model: Model, cache_path: Path) -> Path:
    """The model's file, its SHA-256 checked; a file that was checked and has not changed since is not read again.

    Raises WeightsMissing or WeightsAltered. May read gigabytes: call it off the event loop.
    """
    path = locate(model.weights.location)
    if model.weights.sha256 is None:
        return path
    stat = path.stat()
    mark = f"{path}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}"
    known = files.load(cache_path, dict[str, str]) or {}
    if known.get(mark) != model.weights.sha256:
        found = _sha256(path)
        if found != model.weights.sha256:
            raise WeightsAltered(f"{path} has the SHA-256 {found}, expected {model.weights.sha256}.", path=str(path))
        fresh = {k: v for k, v in known.items() if not k.startswith(f"{path}|")}
        files.save(cache_path, msgspec.to_builtins(fresh | {mark: found}))
    return path


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
    return digest.hexdigest()
