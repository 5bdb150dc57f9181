"""The default model's weights."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from yunhe.catalogue.builtin import default_model
from yunhe.core.units import bytes_text
from yunhe.launcher.checks.finding import Finding

REMEDY: Final = "Install the package again: make install (it takes the weights from the Python registry)."


def check_weights() -> Iterator[Finding]:
    """Whether the file is there and is what the catalogue pins."""
    model = default_model("", 0.0)
    package, _, inside = model.weights.location.removeprefix("package:").partition("/")
    # Only located: importing the package would import things that we do not use.
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        yield Finding("weights", "fail", f"the package {package} with {model.name} is not installed", REMEDY)
        return
    path = Path(places[0]) / inside
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        yield Finding("weights", "fail", f"{path}: {error.strerror}", REMEDY)
        return
    if digest != model.weights.sha256:
        yield Finding("weights", "fail", f"{path} is damaged: its SHA-256 is {digest[:12]}...", REMEDY)
    else:
        yield Finding("weights", "ok", f"{model.name}, {bytes_text(path.stat().st_size)}, SHA-256 as pinned")
