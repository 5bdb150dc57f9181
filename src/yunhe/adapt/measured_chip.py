"""What a calibration found on a chip that is here: a document, and which tier of its caches serves a working set."""

from __future__ import annotations

import itertools
import math
from typing import Final, Literal

from msgspec import Struct

#: Rates that differ by less than this factor belong to one tier: neighbouring sizes of memory alone differ so much.
TIER_FACTOR: Final = 1.3


class MeasuredTier(Struct, frozen=True):
    """Reading one working set again and again, by all cores."""

    working_set_bytes: int
    bytes_per_s: float
    #: How much of the cores' time the best run got, 0 to 1; less where others used them too.
    own_share: float


class MeasuredPeak(Struct, frozen=True):
    """The most that the chip computes in one number format, by one way of asking for it."""

    name: str
    #: Of the operands: f32, bf16, int8.
    dtype: str
    value: float
    unit: str
    own_share: float
    source: Literal["measured"] = "measured"


class RejectedWindow(Struct, frozen=True):
    """A window that does not count, and why."""

    tpot_s: float | None
    foreign_cpu_share: float
    reasons: tuple[str, ...]


class EngineProbe(Struct, frozen=True):
    """One load on an engine: closed loop, requests of one length. Medians over the windows that count."""

    name: str
    input_tokens: int
    output_tokens: int
    concurrency: int
    ttft_s: float
    tpot_s: float
    tokens_per_s: float
    #: Largest over smallest TPOT of the windows that count, less 1.
    spread: float
    foreign_cpu_share: float
    windows: int
    #: Whether the windows that count were undisturbed; else the least disturbed one stands here.
    quiet: bool
    rejected: tuple[RejectedWindow, ...] = ()


class MeasuredEngine(Struct, frozen=True):
    """One engine build on the chip."""

    name: str
    version: str
    #: sha256 over the files that make the build, hexadecimal.
    digest: str
    settings: dict[str, str | int | float | bool]
    probes: tuple[EngineProbe, ...]
    #: Why probes are missing; "" when none is.
    failure: str = ""


class MeasuredModel(Struct, frozen=True):
    """What the probes ran, as far as time depends on it."""

    name: str
    sha256: str
    quantisation: str
    weights_bytes: int
    parameters: int
    #: layers, hidden_size, heads, kv_heads, head_size, vocabulary.
    shape: dict[str, int]


class MeasuredChip(Struct, frozen=True):
    """The result of ``yunhe chip calibrate``."""

    schema: Literal[1]
    #: As the inventory names it.
    chip: str
    #: What else makes it this chip: a firmware's update may change its speed.
    card: str
    model_name: str
    maker: str
    kind: str
    cores: int | None
    memory_bytes: int | None
    features: tuple[str, ...]
    driver_version: str | None
    tiers: tuple[MeasuredTier, ...]
    peaks: tuple[MeasuredPeak, ...]
    model: MeasuredModel
    engines: tuple[MeasuredEngine, ...]
    #: Unix seconds.
    began_at: float
    duration_s: float
    #: Problems that a reader should know.
    notes: tuple[str, ...] = ()


def bandwidth_bytes_per_s(chip: MeasuredChip, working_set_bytes: float) -> float:
    """Between measured sizes a straight line over the logarithm of the size; beyond them the nearest. A smaller set is
    never read slower than a larger one: a figure that says so was disturbed, and the larger one's counts."""
    tiers: list[MeasuredTier] = []
    for tier in sorted(chip.tiers, key=lambda tier: -tier.working_set_bytes):
        rate = max(tier.bytes_per_s, tiers[0].bytes_per_s if tiers else 0.0)
        tiers.insert(0, MeasuredTier(tier.working_set_bytes, rate, tier.own_share))
    if working_set_bytes <= tiers[0].working_set_bytes:
        return tiers[0].bytes_per_s
    for below, above in itertools.pairwise(tiers):
        if working_set_bytes <= above.working_set_bytes:
            whole = math.log(above.working_set_bytes / below.working_set_bytes)
            share = math.log(working_set_bytes / below.working_set_bytes) / whole
            return below.bytes_per_s + share * (above.bytes_per_s - below.bytes_per_s)
    return tiers[-1].bytes_per_s


def tier_of(chip: MeasuredChip, working_set_bytes: float) -> Literal["cache", "memory"]:
    """Where a working set of this size is read from, by its rate against that of the largest one measured."""
    memory = max(chip.tiers, key=lambda tier: tier.working_set_bytes).bytes_per_s
    return "cache" if bandwidth_bytes_per_s(chip, working_set_bytes) > TIER_FACTOR * memory else "memory"


def peak_per_s(chip: MeasuredChip, dtype: str) -> float:
    """Operations a second in this format, else in the widest that was measured; 0 when none was."""
    by_dtype = {peak.dtype: peak.value for peak in chip.peaks}
    return by_dtype.get(dtype) or by_dtype.get("f32", 0.0)
