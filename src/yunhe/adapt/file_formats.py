"""Formats of weights files that engines on processors read: bytes of a model whose shape alone is known."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from yunhe.adapt.features import features
from yunhe.catalogue.architecture import Architecture

#: Elements and a scale of 16 bits (two of them where a minimum is kept too) in blocks of 32.
_FOUR_BITS: Final = 18 / 32
_EIGHT_BITS: Final = 34 / 32


class FileFormat(Struct, frozen=True):
    """One way to write the weights. Bytes of an element."""

    name: str
    #: Of all matrices but these:
    matrix_bytes: float
    #: embedding and output matrix, which quantised files keep wider.
    head_bytes: float
    #: Operands of the products: quantised weights meet activations in eight bits.
    dtype: str


FILE_FORMATS: Final = {
    one.name: one
    for one in (
        FileFormat("q4_0", _FOUR_BITS, _EIGHT_BITS, "int8"),
        FileFormat("q4_1", 20 / 32, _EIGHT_BITS, "int8"),
        FileFormat("q8_0", _EIGHT_BITS, _EIGHT_BITS, "int8"),
        FileFormat("bf16", 2.0, 2.0, "bf16"),
        FileFormat("f32", 4.0, 4.0, "f32"),
    )
}
#: Precision as plans name it -> format of a file; others no engine on a processor reads.
FORMAT_OF_PRECISION: Final = {"int4": "q4_0", "int8": "q8_0", "bf16": "bf16", "fp32": "f32"}
#: Of an element of keys and values.
CACHE_BYTES_OF: Final = {"f16": 2.0, "bf16": 2.0, "q8_0": _EIGHT_BITS}


def file_weight_bytes(architecture: Architecture, of: FileFormat) -> float:
    """All tensors of the file; norms and the like are not counted."""
    f = features(architecture)
    matrices = f.attention + f.dense + f.shared + f.expert_layers * f.experts * f.expert
    return matrices * of.matrix_bytes + (f.head + f.embedding) * of.head_bytes


def cache_bytes_per_token(architecture: Architecture, kv_type: str = "f16") -> float:
    """Of one position over all layers; windows count as whole contexts, as engines here hold them."""
    f = features(architecture)
    return (f.cache_full + f.cache_window + f.cache_latent) * CACHE_BYTES_OF[kv_type]
