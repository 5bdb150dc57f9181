"""Number formats of a running model: bytes of weights and cache, and which of a chip's peaks computes with them."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from yunhe.catalogue.chips import Chip, Dtype


class Precision(Struct, frozen=True):
    """One way to hold and compute a model."""

    name: str
    #: Bytes of one parameter of attention, of feed-forward parts, of experts; scales of blocks included.
    attention_bytes: float
    dense_bytes: float
    expert_bytes: float
    cache_bytes: float
    #: Formats that matrix products may run in, the fastest first; a chip takes the first that it knows.
    attention_compute: tuple[Dtype, ...]
    expert_compute: tuple[Dtype, ...]


_BF16: Final[tuple[Dtype, ...]] = ("bf16", "fp16", "fp32")
_FP8: Final[tuple[Dtype, ...]] = ("fp8", "int8", *_BF16)
_INT8: Final[tuple[Dtype, ...]] = ("int8", "fp8", *_BF16)
_FP4: Final[tuple[Dtype, ...]] = ("fp4", "fp8", "int8", *_BF16)
#: Four bits, and a scale of eight bits for each sixteen.
_FOUR_BITS: Final = 0.5625


def _same(name: str, size: float, compute: tuple[Dtype, ...], cache: float = 2.0) -> Precision:
    return Precision(name, size, size, size, cache, compute, compute)


PRECISIONS: Final = {
    one.name: one
    for one in (
        _same("fp32", 4.0, ("fp32",), 4.0),
        _same("bf16", 2.0, _BF16),
        _same("fp8", 1.0, _FP8),
        _same("int8", 1.0, _INT8),
        _same("fp4", _FOUR_BITS, _FP4),
        # Weights alone in four bits: products run in sixteen.
        _same("int4", _FOUR_BITS, _BF16),
        _same("w4a8", _FOUR_BITS, _INT8),
        # Only feed-forward parts or only experts in four bits, as is usual with large mixtures of experts.
        Precision("fp4-ffn", 2.0, _FOUR_BITS, _FOUR_BITS, 2.0, _BF16, _FP4),
        Precision("mxfp4-experts", 2.0, 2.0, 0.53125, 2.0, _BF16, _FP4),
        Precision("int4-experts", 2.0, 2.0, _FOUR_BITS, 2.0, _BF16, _BF16),
        Precision("w4a8-experts", 1.0, 1.0, _FOUR_BITS, 2.0, _INT8, _INT8),
    )
}


def peak(chip: Chip, formats: tuple[Dtype, ...]) -> float | None:
    """Operations a second in the first format that the chip is known to have; None when none is known."""
    for dtype in formats:
        known = chip.peak_flops.get(dtype)
        if known is not None:
            return known.value
    return None
