"""Measuring a CPU: memory bandwidth, matrix multiplication, and the peak of its low-precision dot products.

Best of several short runs, because other work on the machine can only make a run slower. All in a child process, so
that an instruction that the machine lacks after all kills nobody.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from yunhe.pool.model import Measure

TIME_LIMIT_S: Final = 30
#: With less of the cores' time than this a figure is too low to be kept.
QUIET_SHARE: Final = 0.9
_UNITS: Final = {
    "memory_bandwidth": "bytes_per_s",
    "matmul_f32": "flop_per_s",
    "dot_bf16_avx512": "flop_per_s",
    "dot_int8_avx512": "op_per_s",
}


def measure_speeds(features: Sequence[str], cores: int) -> tuple[dict[str, Measure], bool]:
    """What could be measured, and whether all was, on cores that nobody else used. Takes about three seconds.

    ``memory_bandwidth``: reading and writing of a copy by all cores. ``matmul_f32``: numpy's BLAS. ``dot_bf16_avx512``
    and ``dot_int8_avx512``: peak rate of the processor's own dot-product instructions on registers, absent where it
    has none (a rate of emulated arithmetic would say nothing of the chip).
    """
    kinds = ["memory_bandwidth", "matmul_f32"]
    if "avx512_bf16" in features:
        kinds.append("dot_bf16_avx512")
    if "avx512_vnni" in features:
        kinds.append("dot_int8_avx512")
    found: dict[str, Measure] = {}
    quiet = True
    for kind in kinds:
        command = [sys.executable, "-m", "yunhe.drivers.chips.cpu.speed_run", kind, str(cores)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=TIME_LIMIT_S, check=True, text=True)
            rate = json.loads(done.stdout)
            found[kind] = Measure(float(rate["value"]), _UNITS[kind], "measured")
            quiet = quiet and float(rate["share"]) >= QUIET_SHARE
        except (subprocess.SubprocessError, ValueError, KeyError):
            continue
    return found, quiet and len(found) == len(kinds)
