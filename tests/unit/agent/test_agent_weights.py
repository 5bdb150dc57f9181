from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from yunhe.agent import weights
from yunhe.agent.weights import WeightsAltered, WeightsMissing
from yunhe.catalogue.model import Model, Weights
from yunhe.testing import samples


def model_at(path: Path, content: bytes | None = None) -> Model:
    digest = hashlib.sha256(path.read_bytes() if content is None else content).hexdigest()
    return replace(samples.model(), weights=Weights("gguf", digest, None, f"file:{path}"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"weights")
    return path


def test_a_file_with_the_right_digest_is_good(file: Path, tmp_path: Path) -> None:
    assert weights.verified(model_at(file), tmp_path / "cache.json") == file


def test_a_file_that_was_checked_is_not_read_again(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_at(file)
    weights.verified(model, tmp_path / "cache.json")
    monkeypatch.setattr(weights, "CHUNK_BYTES", "reading would fail")
    assert weights.verified(model, tmp_path / "cache.json") == file


def test_a_file_that_changed_since_is_read_again_and_refused(file: Path, tmp_path: Path) -> None:
    model = model_at(file)
    weights.verified(model, tmp_path / "cache.json")
    file.write_bytes(b"altered")
    os.utime(file, ns=(1, 1))
    with pytest.raises(WeightsAltered, match="SHA-256"):
        weights.verified(model, tmp_path / "cache.json")


def test_a_damaged_cache_is_no_trust(file: Path, tmp_path: Path) -> None:
    (tmp_path / "cache.json").write_text("{ not json")
    assert weights.verified(model_at(file), tmp_path / "cache.json") == file
    with pytest.raises(WeightsAltered):
        weights.verified(model_at(file, b"other"), tmp_path / "cache.json")


@pytest.mark.parametrize(
    "location",
    [
        "file:/nowhere/at/all.gguf",
        "package:no_such_package_here/x.gguf",
        "package:json/../../x.gguf",
        "external",
        "ftp:x",
    ],
)
def test_weights_that_are_not_here_are_missed_with_a_next_step(location: str) -> None:
    with pytest.raises(WeightsMissing) as caught:
        weights.locate(location)
    assert caught.value.next_step


def test_a_package_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "explosive_weights"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "w.gguf").write_bytes(b"w")
    monkeypatch.syspath_prepend(tmp_path)
    assert weights.locate("package:explosive_weights/w.gguf") == package / "w.gguf"
