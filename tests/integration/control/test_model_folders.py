"""Directories of models: safetensors and a config.json are taken in, a config.json alone is kept for plans."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yunhe.catalogue.errors import BadModelConfig, BadWeights, NoWeights, UnknownModelType
from yunhe.control.deployments import DeploymentAsk, Deployments, ExternalAsk
from yunhe.control.model_folder import LIST_NAME
from yunhe.control.models import Models
from yunhe.control.state import ControlState
from yunhe.core.errors import Conflict, InvalidRequest, NotFound, YunheError
from yunhe.store import projects

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "max_position_embeddings": 512,
    "torch_dtype": "bfloat16",
}


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One kind of database will do: these tests are about files."""
    return f"sqlite:///{tmp_path}/yunhe.db"


def write_tensors(path: Path, shapes: dict[str, list[int]], dtype: str = "BF16") -> int:
    """A whole safetensors file of two bytes an element; returns the bytes of its tensors."""
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * shape[1]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(at))
    return at


def write_folder(folder: Path, **config: Any) -> Path:
    """A small but whole model of two files."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    write_tensors(folder / "model-00001-of-00002.safetensors", {"embed": [100, 32], "q": [32, 32]})
    write_tensors(folder / "model-00002-of-00002.safetensors", {"head": [100, 32]})
    files = {"embed": 1, "q": 1, "head": 2}
    named = {name: f"model-0000{number}-of-00002.safetensors" for name, number in files.items()}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": named}))
    return folder


async def add(models: Models, path: Path | str, name: str | None = None) -> Any:
    return (await models.add_file(str(path), name, None, None, None)).model


def listed(location: str) -> dict[str, dict[str, Any]]:
    files: dict[str, dict[str, Any]] = json.loads(Path(location.removeprefix("file:")).read_text())["files"]
    return files


async def test_a_directory_becomes_a_model_with_the_exact_bytes_of_its_tensors(
    state: ControlState, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "Tiny Llama")
    model = await add(Models(state), folder)
    assert (model.name, model.architecture, model.context_length, model.licence) == ("tiny-llama", "llama", 512, "mit")
    assert (model.parameters, model.quantisation) == (3200 + 1024 + 3200, "bf16")
    assert (model.weights.format, model.weights.size_bytes) == ("safetensors", 2 * (3200 + 1024 + 3200))
    assert model.capabilities == ("chat", "completions")
    assert model.structure is not None
    assert model.structure.layers == 2
    place = state.home.models / str(model.weights.sha256)
    assert model.weights.location == f"file:{place / LIST_NAME}"
    assert hashlib.sha256((place / LIST_NAME).read_bytes()).hexdigest() == model.weights.sha256
    files = listed(model.weights.location)
    assert {one.name for one in place.iterdir()} == {*files, LIST_NAME}
    assert set(files) == {one.name for one in folder.iterdir()} - {"README.md"}
    for name, said in files.items():
        content = (folder / name).read_bytes()
        assert said == {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        assert (place / name).read_bytes() == content


async def test_a_download_cache_names_the_model_and_its_links_are_followed(state: ControlState, tmp_path: Path) -> None:
    real = write_folder(tmp_path / "blobs")
    snapshot = tmp_path / "models--acme--Tiny-1B" / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    for one in real.iterdir():
        (snapshot / one.name).symlink_to(one)
    model = await add(Models(state), snapshot)
    assert model.name == "tiny-1b"
    kept = Path(model.weights.location.removeprefix("file:")).parent
    assert all(one.is_file() and not one.is_symlink() for one in kept.iterdir())


async def test_an_index_counts_only_the_files_that_it_names(state: ControlState, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    write_tensors(folder / "consolidated.safetensors", {"everything": [1000, 32]})
    assert (await add(Models(state), folder)).weights.size_bytes == 2 * 7424


async def test_only_headers_are_read_before_a_directory_is_refused_or_taken(
    state: ControlState, tmp_path: Path
) -> None:
    """A sparse file of a terabyte with a bad config.json is refused at once."""
    folder = write_folder(tmp_path / "model", vocab_size=None)
    (folder / "model.safetensors.index.json").unlink()
    text = json.dumps({"a": {"dtype": "F16", "shape": [2**39], "data_offsets": [0, 2**40]}}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + 2**40)
    with pytest.raises(BadModelConfig, match="vocab_size"):
        await add(Models(state), folder)


async def test_a_configuration_alone_is_kept_for_plans_and_not_deployed(state: ControlState, tmp_path: Path) -> None:
    file = tmp_path / "Big-70B" / "config.json"
    file.parent.mkdir()
    file.write_text(json.dumps(CONFIG))
    models = Models(state)
    for path, name in ((file, None), (file.parent, "by-directory")):
        model = await add(models, path, name)
        assert model.name == (name or "big-70b")
        assert (model.weights.format, model.weights.sha256, model.weights.size_bytes) == ("none", None, None)
        assert (model.licence, model.quantisation) == ("unknown", "bf16")
        assert model.structure is not None
    assert list(state.home.models.iterdir()) == []
    again = (await models.get("big-70b")).model
    assert again.structure is not None
    assert again.structure.attention[0].kv_heads == 2
    async with state.db.read() as tx:
        project = await projects.project(tx, "default")
    assert project is not None
    with pytest.raises(NoWeights, match="no weights of big-70b are here") as caught:
        await Deployments(state).create(project.id, DeploymentAsk("big-70b"))
    assert "yunhe model add" in caught.value.next_step
    attached = DeploymentAsk("big-70b", external=ExternalAsk("http://127.0.0.1:9"))
    assert (await Deployments(state).create(project.id, attached)).deployment.model == "big-70b"


async def test_a_config_beside_weights_is_still_taken_alone(state: ControlState, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    assert (await add(Models(state), folder / "config.json")).weights.location == "none"


async def test_weights_go_with_the_last_model_that_has_them(state: ControlState, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "one")
    models = Models(state)
    first, second = await add(models, folder), await add(models, folder, "two")
    assert first.weights == second.weights
    with pytest.raises(Conflict):
        await add(models, folder)
    await models.delete("one")
    assert len(list(state.home.models.iterdir())) == 1
    await models.delete("two")
    assert list(state.home.models.iterdir()) == []
    assert (folder / "model-00001-of-00002.safetensors").exists()


def without(name: str) -> Callable[[Path], Path]:
    return lambda path: ((write_folder(path) / name).unlink(), path)[1]


def holding(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        (write_folder(path) / name).write_bytes(content)
        return path

    return make


def only(name: str, content: str = "{}") -> Callable[[Path], Path]:
    return lambda path: (path.mkdir(), (path / name).write_text(content), path)[2]


def cut(name: str, keep: int) -> Callable[[Path], Path]:
    return lambda path: (os.truncate(write_folder(path) / name, keep), path)[1]


def parts_without_index(path: Path) -> Path:
    folder = write_folder(path)
    (folder / "model.safetensors.index.json").unlink()
    (folder / "model-00001-of-00002.safetensors").unlink()
    return folder


FIRST = "model-00001-of-00002.safetensors"
BAD: dict[str, tuple[Callable[[Path], Path], type[YunheError], str]] = {
    "no such directory": (lambda path: path / "config.json", BadWeights, "there is no file or directory"),
    "empty directory": (lambda path: (path.mkdir(), path)[1], BadWeights, "no config.json"),
    "only a GGUF file": (only("a.gguf"), BadWeights, "no config.json"),
    "adapter": (only("adapter_config.json"), BadWeights, "an adapter"),
    "diffusion": (only("model_index.json"), BadWeights, "diffusion"),
    "wrong JSON": (only("config.json", '{"model_type": '), BadModelConfig, "not JSON"),
    "another program's config": (only("config.json", '{"port": 80}'), BadModelConfig, "neither model_type nor"),
    "missing field": (only("config.json", '{"model_type": "llama"}'), BadModelConfig, "does not say num_hidden_layers"),
    "kind that is not known": (only("config.json", '{"model_type": "x1"}'), UnknownModelType, "'x1' are not known"),
    "not text": (holding("config.json", b"\xff\xfe\0"), BadModelConfig, "not text in UTF-8"),
    "cut inside the length": (cut(FIRST, 5), BadWeights, f"{FIRST}: truncated: only 5 bytes"),
    "cut header": (cut(FIRST, 40), BadWeights, "truncated inside the header"),
    "cut tensors": (cut(FIRST, 3000), BadWeights, "truncated: "),
    "pointer instead of weights": (holding(FIRST, b"version https://git-lfs"), BadWeights, "not a safetensors file"),
    "missing part": (without(FIRST), BadWeights, f"lacks 1 of 2 safetensors files: {FIRST}"),
    "missing part without index": (parts_without_index, BadWeights, f"lacks 1 of 2 safetensors files: {FIRST}"),
    "no index": (holding("model.safetensors.index.json", b"{}"), BadWeights, "is no index"),
    "index that leads elsewhere": (
        holding("model.safetensors.index.json", b'{"weight_map": {"a": "../x.safetensors"}}'),
        BadWeights,
        "is no index",
    ),
    "no tokenizer": (without("tokenizer.json"), BadWeights, "holds no tokenizer"),
    "bad tokenizer": (holding("tokenizer_config.json", b"{"), BadModelConfig, "tokenizer_config.json is not JSON"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_directory_is_refused_with_its_reason_and_leaves_nothing(
    state: ControlState, tmp_path: Path, kind: str
) -> None:
    make, error, words = BAD[kind]
    with pytest.raises(error, match=words) as caught:
        await add(Models(state), make(tmp_path / "bad"), "bad")
    assert caught.value.next_step
    assert list(state.home.models.iterdir()) == []
    with pytest.raises(NotFound):
        await Models(state).get("bad")


async def test_pickled_weights_and_single_files_say_what_to_add_instead(state: ControlState, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    for one in folder.glob("*safetensors*"):
        one.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(BadWeights, match="pickled weights"):
        await add(Models(state), folder)
    write_tensors(folder / "model.safetensors", {"a": [2, 2]})
    with pytest.raises(BadWeights) as caught:
        await add(Models(state), folder / "model.safetensors")
    assert caught.value.next_step == "Give the directory that holds it and its config.json: model."


async def test_names_and_probes_are_checked_too(state: ControlState, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    with pytest.raises(InvalidRequest, match="not a name"):
        await add(Models(state), folder, "../x")
    with pytest.raises(InvalidRequest, match="probe_expect"):
        await Models(state).add_file(str(folder), None, None, None, "x")
