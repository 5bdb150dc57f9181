"""Configurations to predict, as columns: one array element is one model on some cards under one load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from yunhe.adapt.features import FeatureTable, features, table
from yunhe.adapt.precision import Precision, peak
from yunhe.catalogue.architecture import Architecture
from yunhe.catalogue.chips import Chip

Column = npt.NDArray[np.float64]
#: Scale-up links of a chip that tells none: PCIe 4.0 x16, one direction.
_LINK_BYTES_PER_S: Final = 32e9


class Point(Struct, frozen=True):
    """One configuration. ``cards`` = tensor_parallel * data_parallel * pipeline_parallel."""

    architecture: Architecture
    chip: Chip
    precision: Precision
    engine: str
    input_tokens: float
    output_tokens: float
    #: Requests in flight at once.
    concurrency: float
    tensor_parallel: int = 1
    #: Attention copies, each with its share of the requests; experts are spread over all.
    data_parallel: int = 1
    pipeline_parallel: int = 1
    #: Tokens that one decode step yields for a sequence; above 1 with speculation.
    tokens_per_step: float = 1.0
    #: Of the input, what a prefix cache holds already: not computed again, but looked at.
    cached_tokens: float = 0.0
    #: Drafts that a decode step checks for a sequence, beside the token that it yields anyway.
    drafted_tokens: float = 0.0

    @property
    def cards(self) -> int:
        """Of one instance."""
        return self.tensor_parallel * self.data_parallel * self.pipeline_parallel


class ChipNumbers(Struct, frozen=True):
    """A chip for one precision."""

    bandwidth_bytes_per_s: float
    attention_flops: float
    expert_flops: float
    #: For products of activations: sixteen bits.
    pair_flops: float
    link_bytes_per_s: float


class UnknownChipNumbers(ValueError):
    """The catalogue does not say what a prediction needs."""


def chip_numbers(chip: Chip, precision: Precision) -> ChipNumbers:
    """What the catalogue says. Raises UnknownChipNumbers, naming what is missing."""
    bandwidth = chip.memory_bandwidth_bytes_per_s
    if bandwidth is None:
        raise UnknownChipNumbers(
            f"nobody says the memory bandwidth of {chip.name}; measure a card: yunhe chip calibrate"
        )
    attention, experts = peak(chip, precision.attention_compute), peak(chip, precision.expert_compute)
    pairs = peak(chip, ("bf16", "fp16", "fp32"))
    if attention is None or experts is None or pairs is None:
        raise UnknownChipNumbers(f"nobody says how fast {chip.name} computes in {precision.name}")
    link = chip.scale_up_bytes_per_s
    return ChipNumbers(bandwidth.value, attention, experts, pairs, link.value if link else _LINK_BYTES_PER_S)


class Columns(Struct, frozen=True):
    """What the formulas need, all arrays of one length."""

    features: FeatureTable
    chip: dict[str, Column]
    attention_bytes: Column
    dense_bytes: Column
    expert_bytes: Column
    cache_bytes: Column
    input_tokens: Column
    output_tokens: Column
    concurrency: Column
    tensor_parallel: Column
    data_parallel: Column
    pipeline_parallel: Column
    tokens_per_step: Column
    cached_tokens: Column
    drafted_tokens: Column


def columns(points: Sequence[Point]) -> Columns:
    """Gathered from records. Raises UnknownChipNumbers."""
    shapes = {point.architecture.id: point.architecture for point in points}
    index = {name: number for number, name in enumerate(shapes)}
    found = table([features(shape) for shape in shapes.values()])
    rows = np.array([index[point.architecture.id] for point in points], dtype=np.intp)
    pairs = {(point.chip.id, point.precision.name): (point.chip, point.precision) for point in points}
    numbers = {key: chip_numbers(*pair) for key, pair in pairs.items()}
    chosen = [numbers[point.chip.id, point.precision.name] for point in points]

    def column(values: list[float]) -> Column:
        return np.array(values, dtype=np.float64)

    return Columns(
        features={name: values[rows] for name, values in found.items()},
        chip={name: column([getattr(one, name) for one in chosen]) for name in ChipNumbers.__struct_fields__},
        attention_bytes=column([point.precision.attention_bytes for point in points]),
        dense_bytes=column([point.precision.dense_bytes for point in points]),
        expert_bytes=column([point.precision.expert_bytes for point in points]),
        cache_bytes=column([point.precision.cache_bytes for point in points]),
        input_tokens=column([point.input_tokens for point in points]),
        output_tokens=column([point.output_tokens for point in points]),
        concurrency=column([point.concurrency for point in points]),
        tensor_parallel=column([point.tensor_parallel for point in points]),
        data_parallel=column([point.data_parallel for point in points]),
        pipeline_parallel=column([point.pipeline_parallel for point in points]),
        tokens_per_step=column([point.tokens_per_step for point in points]),
        cached_tokens=column([point.cached_tokens for point in points]),
        drafted_tokens=column([point.drafted_tokens for point in points]),
    )
