"""Measuring a CPU: memory bandwidth, matrix multiplication, and the peak of its low-precision dot products.

Best of several short runs, because other work on the machine can only make a run slower. All in a child process, so
that an instruction that the machine lacks after all kills nobody.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from yunhe.pool.model import Measure

TIME_LIMIT_S: Final = 30
#: With less of the cores' time than this a figure is too low to be kept.
QUIET_SHARE: Final = 0.9
#: Of the names of kinds that read a working set; its bytes follow.
READ_PREFIX: Final = "read_bandwidth_"
READ_SIZES_BYTES: Final = tuple(size * 1024**2 for size in (1, 8, 32, 64, 128, 512))
_UNITS: Final = {
    "memory_bandwidth": "bytes_per_s",
    "matmul_f32": "flop_per_s",
    "dot_bf16_avx512": "flop_per_s",
    "dot_int8_avx512": "op_per_s",
}
_DTYPES: Final = {"matmul_f32": "f32", "dot_bf16_avx512": "bf16", "dot_int8_avx512": "int8"}


@dataclass(frozen=True, slots=True)
class SpeedKind:
    """One thing to measure of a chip."""

    name: str
    unit: str
    #: Of readings: bytes that are read again and again, over all cores.
    working_set_bytes: int | None = None
    #: Of peaks: the operands' format.
    dtype: str = ""


@dataclass(frozen=True, slots=True)
class Speed:
    """The best of a few runs."""

    value: float
    #: How much of the cores' time that run got, 0 to 1; less where others used them too.
    share: float


class NotMeasured(Exception):
    """A measurement ended without a figure: the instruction is missing after all, or it took too long."""


def peak_kinds(features: Sequence[str]) -> tuple[SpeedKind, ...]:
    """What this processor can be measured by: ``matmul_f32``, numpy's BLAS; ``dot_bf16_avx512`` and
    ``dot_int8_avx512``, the peak rate of its own dot-product instructions on registers, left out where it has none (a
    rate of emulated arithmetic would say nothing of the chip).
    """
    names = ["matmul_f32"]
    if "avx512_bf16" in features:
        names.append("dot_bf16_avx512")
    if "avx512_vnni" in features:
        names.append("dot_int8_avx512")
    return tuple(SpeedKind(name, _UNITS[name], dtype=_DTYPES[name]) for name in names)


def read_kinds() -> tuple[SpeedKind, ...]:
    """Reading at working sets from what caches hold to what none does."""
    return tuple(SpeedKind(f"{READ_PREFIX}{size}", "bytes_per_s", size) for size in READ_SIZES_BYTES)


def measure_kind(kind: SpeedKind, cores: int) -> Speed:
    """Measure in a child process. Takes about a second. Raises NotMeasured."""
    command = [sys.executable, "-m", "yunhe.drivers.chips.cpu.speed_run", kind.name, str(cores)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIME_LIMIT_S, check=True, text=True)
        rate = json.loads(done.stdout)
        return Speed(float(rate["value"]), float(rate["share"]))
    except (subprocess.SubprocessError, ValueError, KeyError) as error:
        raise NotMeasured(f"{kind.name}: {error}") from error


def measure_speeds(features: Sequence[str], cores: int) -> tuple[dict[str, Measure], bool]:
    """What could be measured, and whether all was, on cores that nobody else used. Takes about three seconds.

    ``memory_bandwidth``: reading and writing of a copy by all cores. The others: see ``peak_kinds``.
    """
    kinds = (SpeedKind("memory_bandwidth", _UNITS["memory_bandwidth"]), *peak_kinds(features))
    found: dict[str, Measure] = {}
    quiet = True
    for kind in kinds:
        try:
            speed = measure_kind(kind, cores)
        except NotMeasured:
            continue
        found[kind.name] = Measure(speed.value, kind.unit, "measured")
        quiet = quiet and speed.share >= QUIET_SHARE
    return found, quiet and len(found) == len(kinds)
