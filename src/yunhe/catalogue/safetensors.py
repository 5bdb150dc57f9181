"""What the header of a safetensors weights file says. Reading the file is control's work.

Layout, from the format's description and its reference reader (github.com/huggingface/safetensors): eight bytes with
the header's length, little-endian; the header, a JSON object of tensors; the tensors themselves, without holes, up to
the end of the file.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from yunhe.catalogue.errors import BadWeights
from yunhe.core.units import MIB

LENGTH_BYTES: Final = 8
#: The reference reader takes 100 MB; headers of the largest single files in use stay below 10.
HEADER_BYTES_MAX: Final = 32 * MIB
_METADATA: Final = "__metadata__"
_BITS: Final = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}
#: Ends of the names of tensors that only say how others are quantised.
_SCALES: Final = ("scale", "scales", "scale_inv", "zeros", "qzeros", "zero_point", "g_idx", "scale_2", "absmax")

Size = Annotated[int, Meta(ge=0, le=2**62)]
Shape = Annotated[tuple[Size, ...], Meta(max_length=16)]


class _Tensor(Struct, frozen=True):
    dtype: str
    shape: Shape
    data_offsets: tuple[Size, Size]


@dataclass(slots=True)
class TensorTotals:
    """All tensors of a model's files together."""

    tensors: int = 0
    #: Without those that only say how others are quantised.
    elements: int = 0
    #: Number format as the files name it -> bytes.
    bytes_by_dtype: Counter[str] = field(default_factory=Counter)

    @property
    def bytes(self) -> int:
        """Of all tensors."""
        return self.bytes_by_dtype.total()

    @property
    def main_dtype(self) -> str:
        """The format that most bytes have; "" without tensors."""
        return self.bytes_by_dtype.most_common(1)[0][0] if self.bytes_by_dtype else ""

    def add(self, other: TensorTotals) -> None:
        """Count another file too."""
        self.tensors += other.tensors
        self.elements += other.elements
        self.bytes_by_dtype.update(other.bytes_by_dtype)


def header_length(start: bytes, file_bytes: int) -> int:
    """Bytes of the header, by the file's first eight. Raises BadWeights when there cannot be such a header."""
    if len(start) < LENGTH_BYTES:
        raise BadWeights(f"truncated: only {len(start)} bytes")
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if length < 2:
        raise BadWeights("not a safetensors file: its header is empty")
    if length > HEADER_BYTES_MAX:
        raise BadWeights(f"not a safetensors file: its header would have {length:,} bytes")
    if LENGTH_BYTES + length > file_bytes:
        raise BadWeights(f"truncated inside the header: {file_bytes:,} bytes of {LENGTH_BYTES + length:,} and more")
    return length


def totals_of(header: bytes, data_bytes: int) -> TensorTotals:
    """Count the tensors; ``data_bytes`` lie behind the header. Raises BadWeights with the reason."""
    try:
        named = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        named.pop(_METADATA, None)
        tensors = {name: msgspec.json.decode(raw, type=_Tensor) for name, raw in named.items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadWeights(f"broken: its header is no table of tensors ({str(error)[:200]})") from None
    _check_places(tensors.items(), data_bytes)
    totals = TensorTotals(tensors=len(tensors))
    for name, tensor in tensors.items():
        begin, end = tensor.data_offsets
        totals.bytes_by_dtype[tensor.dtype] += end - begin
        if not name.endswith(_SCALES):
            totals.elements += math.prod(tensor.shape)
    return totals


def _check_places(tensors: Iterable[tuple[str, _Tensor]], data_bytes: int) -> None:
    """Whether each tensor has the bytes that its shape needs, and all together those of the file."""
    at = 0
    for name, tensor in sorted(tensors, key=lambda pair: pair[1].data_offsets):
        begin, end = tensor.data_offsets
        bits = _BITS.get(tensor.dtype)
        if bits is None:
            raise BadWeights(
                f"tensor {name[:100]!r} has a number format that is not known: {tensor.dtype[:40]!r}",
                next_step="Store the weights in a format that safetensors describes, then add them again.",
            )
        if begin != at or end < begin:
            raise BadWeights(f"broken: tensor {name[:100]!r} does not begin where the one before it ends")
        if (end - begin) * 8 != math.prod(tensor.shape) * bits:
            raise BadWeights(f"broken: tensor {name[:100]!r} has {end - begin:,} bytes, its shape needs another number")
        at = end
    if at > data_bytes:
        raise BadWeights(f"truncated: {data_bytes:,} bytes of tensors, its header names {at:,}")
    if at < data_bytes:
        raise BadWeights(f"broken: {data_bytes - at:,} bytes more than its header names")
