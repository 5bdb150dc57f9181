"""Weights files of users: good ones are taken in, bad ones are refused with their reason."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from yunhe.catalogue.errors import BadWeights
from yunhe.control.deployments import DeploymentAsk, Deployments
from yunhe.control.models import Models
from yunhe.control.state import ControlState
from yunhe.core.errors import Conflict, InvalidRequest, NotFound
from yunhe.store import projects


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One kind of database will do: these tests are about files."""
    return f"sqlite:///{tmp_path}/yunhe.db"


def write_gguf(path: Path, *, template: str | None = "{{ messages }}", tokens: int = 8, context: int = 512) -> Path:
    """A small but whole weights file."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(context)
    writer.add_block_count(2)
    writer.add_embedding_length(32)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    if tokens:
        writer.add_token_list([f"t{n}" for n in range(tokens)])
    if template is not None:
        writer.add_chat_template(template)
    writer.add_tensor("token_embd.weight", np.zeros((8, 32), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


async def add(models: Models, path: Path | str, name: str | None = None) -> str:
    return (await models.add_file(str(path), name, None, None, None)).model.name


async def test_a_weights_file_becomes_a_model_named_by_its_digest(state: ControlState, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "My Model-Q4.gguf")
    models = Models(state)
    view = await models.add_file(str(path), None, "MIT", "Two and two is", "four")
    model = view.model
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (model.name, model.licence, model.architecture, model.context_length) == ("my-model-q4", "MIT", "llama", 512)
    assert (model.weights.sha256, model.weights.size_bytes) == (digest, path.stat().st_size)
    assert model.weights.location == f"file:{state.home.models / digest}.gguf"
    assert (model.parameters, model.quantisation, model.capabilities) == (256, "f16", ("chat", "completions"))
    assert model.shape == {
        "layers": 2, "hidden_size": 32, "heads": 4, "kv_heads": 2, "head_size": 8, "vocabulary": 8,
    }  # fmt: skip
    assert (model.probe.prompt, model.probe.expect) == ("Two and two is", "four")
    path.unlink()
    assert hashlib.sha256((state.home.models / f"{digest}.gguf").read_bytes()).hexdigest() == digest


async def test_a_link_to_a_weights_file_leads_to_the_file(state: ControlState, tmp_path: Path) -> None:
    """As in download caches, whose entries are relative symbolic links."""
    write_gguf(tmp_path / "blob")
    link = tmp_path / "model.gguf"
    link.symlink_to("blob")
    model = (await Models(state).add_file(str(link), None, None, None, None)).model
    kept = state.home.models / f"{model.weights.sha256}.gguf"
    assert kept.is_file()
    assert not kept.is_symlink()


def cut(path: Path, keep: int) -> Path:
    os.truncate(path, keep)
    return path


def broken(path: Path) -> Path:
    whole = bytearray(write_gguf(path).read_bytes())
    whole[16:24] = (2**60).to_bytes(8, "little")
    path.write_bytes(whole)
    return path


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "absent": (lambda path: path, "there is no file"),
    "directory": (lambda path: path.parent, "holds no config.json"),
    "pipe": (lambda path: (os.mkfifo(path), path)[1], "is not a file"),
    "empty": (lambda path: (path.touch(), path)[1], "not a GGUF file"),
    "text": (lambda path: (path.write_text("hello"), path)[1], "not a GGUF file"),
    "only magic": (lambda path: (path.write_bytes(b"GGUF\3\0\0\0"), path)[1], "truncated"),
    "cut header": (lambda path: cut(write_gguf(path), 200), "truncated or broken"),
    "cut tensors": (lambda path: cut(write_gguf(path), 700), "truncated or broken"),
    "absurd counts": (broken, "broken"),
    "no tokenizer": (lambda path: write_gguf(path, tokens=0), "no tokenizer"),
    "no context": (lambda path: write_gguf(path, context=0), "context_length"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_file_is_refused_with_its_reason_and_leaves_nothing(
    state: ControlState, tmp_path: Path, kind: str
) -> None:
    make, words = BAD[kind]
    with pytest.raises(BadWeights, match=words) as caught:
        await add(Models(state), make(tmp_path / "bad.gguf"), "bad")
    assert caught.value.next_step
    assert list(state.home.models.iterdir()) == []
    with pytest.raises(NotFound):
        await Models(state).get("bad")


async def test_paths_and_names_are_checked_before_anything_is_read(state: ControlState, tmp_path: Path) -> None:
    models = Models(state)
    for path in ("relative.gguf", "/a\0b"):
        with pytest.raises(InvalidRequest, match="absolute"):
            await add(models, path)
    with pytest.raises(InvalidRequest, match="not a name"):
        await add(models, tmp_path / "x.gguf", "../x")


async def test_a_name_is_taken_once_and_weights_stay_while_any_model_has_them(
    state: ControlState, tmp_path: Path
) -> None:
    models = Models(state)
    path = write_gguf(tmp_path / "one.gguf")
    await add(models, path)
    with pytest.raises(Conflict):
        await add(models, path)
    await add(models, path, "two")
    await models.delete("one")
    assert len(list(state.home.models.iterdir())) == 1
    await models.delete("two")
    assert list(state.home.models.iterdir()) == []
    assert path.exists()


async def test_a_deployed_model_stays_in_the_catalogue(state: ControlState) -> None:
    models = Models(state)
    await models.add_external("far/model", 4096, None, None, None)
    async with state.db.read() as tx:
        project = await projects.project(tx, "default")
    assert project is not None
    with pytest.raises(InvalidRequest, match="only external servers hold it"):
        await Deployments(state).create(project.id, DeploymentAsk("far/model"))
    with pytest.raises(Conflict, match="deployed as smollm2"):
        await models.delete("smollm2-135m-instruct")
    await models.delete("far/model")
