"""Writes a GGUF file's own tensors at another precision, in a process of its own: it takes the CPU for a while.

``python -m yunhe.agent.tuning.fidelity.dequantise SOURCE TARGET`` writes TARGET at 16 bit, prints ``DONE TOTAL`` in
elements now and then, and at the end the SHA-256 of TARGET and its precision. Where all is that precise already it
writes nothing and prints ``wide`` and the precision. In memory is one tensor at a time.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType
from gguf.quants import dequantize, quantize
from numpy.typing import NDArray

from yunhe.agent.tuning.fidelity.reference import REFUSED
from yunhe.agent.tuning.orphans import die_with_parent

#: As precise as weights get; copied as they are.
WIDE: Final = frozenset({"F64", "F32", "F16", "BF16", "I8", "I16", "I32", "I64"})
#: Written by the format's library, or not true of the new file.
_OWN_KEYS: Final = ("general.architecture", "general.quantization_version", "general.file_type")
_F16_MAX: Final = 65_504.0
#: Rows are converted in blocks of about so many elements: bounds what is in memory beside the result.
_BLOCK_ELEMENTS: Final = 1 << 23


class Unreadable(ValueError):
    """A tensor's values cannot be had."""


class TooLarge(ValueError):
    """A value does not fit into 16 bit."""


def rewrite(
    source: Path,
    target: Path,
    to: str,
    *,
    keep: Collection[str] = WIDE,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write all tensors as type ``to``, but copy those whose type is in ``keep``; metadata stay.

    Progress is in elements. Raises Unreadable, TooLarge or OSError; then ``target`` is not whole.
    """
    reader = GGUFReader(source)
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    new_types = {name: kind if kind in keep else to for name, kind in types.items()}
    writer = GGUFWriter(target, _text(reader, "general.architecture"), endianess=reader.endianess)
    try:
        _copy_metadata(reader, writer, to)
        for tensor in reader.tensors:
            shape, kind = _byte_shape(tensor, new_types[tensor.name])
            writer.add_tensor_info(tensor.name, shape, np.dtype(np.uint8), int(np.prod(shape)), kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        done, total = 0, sum(int(tensor.n_elements) for tensor in reader.tensors)
        for tensor in reader.tensors:
            kept = types[tensor.name] in keep
            data = tensor.data if kept else _converted(tensor, GGMLQuantizationType[to])
            # Tensors of the other byte order are not converted: their values are already in this one's.
            writer.write_tensor_data(np.ascontiguousarray(data))
            done += int(tensor.n_elements)
            if progress is not None:
                progress(done, total)
    finally:
        writer.close()


def precision_of(source: Path) -> str | None:
    """The commonest type by elements where every tensor is wide; None where any is quantised."""
    elements: Counter[str] = Counter()
    for tensor in GGUFReader(source).tensors:
        elements[tensor.tensor_type.name] += int(tensor.n_elements)
    return elements.most_common(1)[0][0] if elements and elements.keys() <= WIDE else None


def _text(reader: Any, key: str) -> str:
    field = reader.get_field(key)
    if field is None:
        raise Unreadable(f"the file has no {key}")
    return str(field.contents())


def _copy_metadata(reader: Any, writer: Any, to: str) -> None:
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in _OWN_KEYS:
            continue
        kind = field.types[0]
        element = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=element)
    writer.add_file_type(int(LlamaFileType.ALL_F32 if to == "F32" else LlamaFileType[f"MOSTLY_{to}"]))
    if to not in WIDE:
        writer.add_quantization_version(2)


def _byte_shape(tensor: Any, to: str) -> tuple[tuple[int, ...], GGMLQuantizationType]:
    """The shape of the new tensor's bytes, slowest axis first."""
    kind = GGMLQuantizationType[to]
    block_elements, block_bytes = GGML_QUANT_SIZES[kind]
    *outer, row = (int(length) for length in reversed(tensor.shape))
    return (*outer, row // block_elements * block_bytes), kind


def _converted(tensor: Any, to: GGMLQuantizationType) -> NDArray[Any]:
    """The tensor's values as another type, shape (rows, bytes or elements of a row)."""
    data = tensor.data.reshape(-1, tensor.data.shape[-1])
    rows = max(1, _BLOCK_ELEMENTS // int(tensor.shape[0]))
    blocks = []
    for start in range(0, len(data), rows):
        try:
            values = dequantize(data[start : start + rows], tensor.tensor_type)
        except NotImplementedError as error:
            raise Unreadable(f"{tensor.name} is of type {tensor.tensor_type.name}: {error}") from None
        largest = np.abs(values).max(initial=0.0)
        if not np.isfinite(largest):
            raise Unreadable(f"{tensor.name} holds values that are no numbers")
        if to.name == "F16" and largest > _F16_MAX:
            raise TooLarge(f"{tensor.name} holds {largest:g}")
        blocks.append(quantize(values, to))
    return np.concatenate(blocks)


def main() -> int:
    """The child process."""
    die_with_parent()
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    asked = parser.parse_args()
    os.nice(10)

    try:
        return _carry_out(asked.source, asked.target)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        print(f"{type(error).__name__}: {str(error)[:300]}", file=sys.stderr, flush=True)
        return REFUSED
    except (OSError, MemoryError) as error:
        print(f"{type(error).__name__}: {str(error)[:300]}", file=sys.stderr, flush=True)
        return 1


def _carry_out(source: Path, target: Path) -> int:
    def progress(done: int, total: int) -> None:
        print(done, total, flush=True)

    if precision := precision_of(source):
        print("wide", precision, flush=True)
        return 0
    try:
        precision = "F16"
        rewrite(source, target, precision, progress=progress)
    except TooLarge:
        precision = "F32"
        rewrite(source, target, precision, progress=progress)
    with target.open("r+b") as file:
        os.fsync(file.fileno())
        print(hashlib.file_digest(file, "sha256").hexdigest(), precision, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
