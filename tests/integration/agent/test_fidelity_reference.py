from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize

from yunhe.agent.tuning.fidelity import dequantise, reference
from yunhe.agent.tuning.fidelity.reference import ConversionFailed, NoReference, reference_weights

Q = gguf.GGMLQuantizationType
WORDS = ["a", "好", "\u2581the"]


def write_weights(path: Path, matrix: np.ndarray, kind: Q) -> Path:
    """A file with one matrix, one norm and metadata of several types."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_rope_freq_base(1e5)
    writer.add_token_list(WORDS)
    writer.add_token_types([1, 1, 3])
    writer.add_add_bos_token(False)
    writer.add_file_type(3)
    writer.add_tensor("blk.0.attn_q.weight", quantize(matrix, kind), raw_dtype=kind)
    writer.add_tensor("blk.0.attn_norm.weight", np.arange(96, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def matrix() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(8, 96)).astype(np.float32)


@pytest.mark.parametrize("kind", [Q.Q4_1, Q.Q8_0, Q.Q5_0])
async def test_quantised_tensors_are_written_at_16_bit_and_the_rest_stays(
    tmp_path: Path, matrix: np.ndarray, kind: Q
) -> None:
    source = write_weights(tmp_path / "source.gguf", matrix, kind)
    seen: list[tuple[int, int]] = []
    made = await reference_weights(
        source, digest_of(source), tmp_path / "cache", progress=lambda done, total: seen.append((done, total))
    )
    assert (made.precision, made.made, made.digest) == ("F16", True, digest_of(made.path))
    assert seen[-1] == (9 * 96, 9 * 96)
    old, new = gguf.GGUFReader(source), gguf.GGUFReader(made.path)
    for before, after in zip(old.tensors, new.tensors, strict=True):
        assert (before.name, list(before.shape)) == (after.name, list(after.shape))
    assert new.tensors[0].tensor_type == Q.F16
    expected = dequantize(old.tensors[0].data, kind).astype(np.float16)
    assert np.array_equal(new.tensors[0].data, expected)
    assert np.array_equal(new.tensors[1].data, np.arange(96, dtype=np.float32))
    kept = {name: field.contents() for name, field in old.fields.items() if not name.startswith("GGUF.")}
    kept["general.file_type"] = 1
    assert {name: field.contents() for name, field in new.fields.items() if not name.startswith("GGUF.")} == kept


async def test_the_cache_is_used_again_and_a_damaged_file_is_not(
    tmp_path: Path, matrix: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_weights(tmp_path / "source.gguf", matrix, Q.Q4_1)
    cache = tmp_path / "cache"
    first = await reference_weights(source, digest_of(source), cache)
    whole = first.path.read_bytes()
    first.path.write_bytes(whole[:-1] + b"x")
    again = await reference_weights(source, digest_of(source), cache)
    assert again.path.read_bytes() == whole
    monkeypatch.setattr(reference, "_convert", None)
    assert await reference_weights(source, digest_of(source), cache) == first
    assert list(cache.iterdir()) == [first.path]


@pytest.mark.parametrize("kind", [Q.F16, Q.F32, Q.BF16])
async def test_weights_that_are_wide_already_are_their_own_reference(
    tmp_path: Path, matrix: np.ndarray, kind: Q
) -> None:
    source = write_weights(tmp_path / "source.gguf", matrix, kind)
    own = await reference_weights(source, digest_of(source), tmp_path / "cache")
    assert (own.path, own.digest, own.precision, own.made) == (source, digest_of(source), kind.name, False)
    assert list((tmp_path / "cache").iterdir()) == []


async def test_values_that_16_bit_cannot_hold_are_written_at_32(tmp_path: Path, matrix: np.ndarray) -> None:
    source = write_weights(tmp_path / "source.gguf", matrix * 60_000, Q.Q8_0)
    made = await reference_weights(source, digest_of(source), tmp_path / "cache")
    assert made.precision == "F32"
    tensor = gguf.GGUFReader(made.path).tensors[0]
    assert np.array_equal(tensor.data, dequantize(gguf.GGUFReader(source).tensors[0].data, Q.Q8_0))


async def test_what_is_no_weights_file_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes(b"not weights at all, but long enough for a header" * 10)
    with pytest.raises(NoReference, match=r"source\.gguf"):
        await reference_weights(source, digest_of(source), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


async def test_a_file_that_is_gone_is_a_failure_not_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(ConversionFailed, match="FileNotFoundError"):
        await reference_weights(tmp_path / "gone.gguf", "0" * 64, tmp_path / "cache")


async def test_a_cancelled_conversion_leaves_nothing(tmp_path: Path, matrix: np.ndarray) -> None:
    source = write_weights(tmp_path / "source.gguf", np.tile(matrix, (40_000, 1)), Q.Q4_1)
    begun = asyncio.Event()
    making = asyncio.create_task(
        reference_weights(source, "1" * 64, tmp_path / "cache", progress=lambda done, total: begun.set())
    )
    await begun.wait()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert list((tmp_path / "cache").iterdir()) == []


def test_tensors_that_are_kept_are_copied_bit_by_bit(tmp_path: Path, matrix: np.ndarray) -> None:
    source = write_weights(tmp_path / "source.gguf", matrix, Q.Q8_0)
    target = tmp_path / "target.gguf"
    dequantise.rewrite(source, target, "Q4_0", keep=dequantise.WIDE | {"Q8_0"})
    old, new = gguf.GGUFReader(source), gguf.GGUFReader(target)
    assert all(np.array_equal(a.data, b.data) for a, b in zip(old.tensors, new.tensors, strict=True))
    dequantise.rewrite(source, target, "Q4_0")
    found = gguf.GGUFReader(target).tensors[0]
    assert found.tensor_type == Q.Q4_0
    assert np.array_equal(found.data, quantize(dequantize(old.tensors[0].data, Q.Q8_0), Q.Q4_0))
