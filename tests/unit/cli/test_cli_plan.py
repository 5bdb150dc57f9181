"""`yunhe plan` of a model that only the instance was told of."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from yunhe.catalogue.hf_model import structure_of
from yunhe.cli.main import main
from yunhe.sdk import NotFound
from yunhe.sdk.models import Model

CONFIG = {
    "model_type": "llama",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 8,
    "num_attention_heads": 16,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
}
RECORD: dict[str, Any] = {
    "id": "model_1", "name": "ours", "architecture": "llama", "parameters": 1, "quantisation": None,
    "context_length": 4096, "licence": "unknown", "capabilities": ["completions"], "sha256": None, "size_bytes": None,
    "location": "none", "owned_by": "user", "source": "", "created_at": "2026-01-01T00:00:00Z",
    "has_chat_template": False, "shape": {}, "deployments": [], "price": None,
}  # fmt: skip


class Catalogue:
    """Stands for an instance that knows one model."""

    def __init__(self, structure: dict[str, Any] | None) -> None:
        self.asked: list[str] = []
        self._structure = structure

    def get(self, name: str) -> Model:
        self.asked.append(name)
        if name != "ours":
            raise NotFound("there is no such model", code="not_found", http_status=404)
        return Model.model_validate({**RECORD, "structure": self._structure})


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any] | None], list[str]]:
    """Makes an instance that knows one model with this structure; the names that were asked for."""

    def make(structure: dict[str, Any] | None) -> list[str]:
        catalogue = Catalogue(structure)
        monkeypatch.setattr("yunhe.cli.plan.client", lambda: nullcontext(SimpleNamespace(models=catalogue)))
        return catalogue.asked

    return make


def test_the_instance_is_asked_for_what_no_catalogue_has(
    instance: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = instance(msgspec.to_builtins(structure_of(CONFIG, "ours")))
    assert main(["plan", "ours", "--chip", "h100-sxm", "--engine", "vllm", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ways"]
    assert asked == ["ours"]


@pytest.mark.parametrize("model", ["ours", "theirs"])
def test_without_a_structure_the_catalogue_s_own_error_stays(
    instance: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], model: str
) -> None:
    asked = instance(None)
    assert main(["plan", model, "--chip", "h100-sxm"]) == 3
    assert f"no model architecture '{model}'" in capsys.readouterr().err
    assert asked == [model]


def test_a_name_of_the_catalogue_asks_no_instance(
    instance: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = instance(None)
    assert main(["plan", "qwen3-32b", "--chip", "h100-sxm", "--engine", "vllm", "--json"]) == 0
    assert asked == []
    assert json.loads(capsys.readouterr().out)["ways"]


def test_no_instance_is_needed_to_say_that_a_name_is_unknown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("YUNHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("YUNHE_URL", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert main(["plan", "zzzz"]) == 3
    assert "no model architecture 'zzzz'" in capsys.readouterr().err
