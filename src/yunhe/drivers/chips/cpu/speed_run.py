"""One measurement in a process of its own: ``python -m yunhe.drivers.chips.cpu.speed_run KIND CORES``."""

from __future__ import annotations

import ctypes
import json
import mmap
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

from yunhe.drivers.chips.cpu.speed import READ_PREFIX

ROUNDS: Final = 5
#: Short runs are repeated so long: among many some fall between the turns of other programs.
REPEAT_S: Final = 0.5
#: A run reads at least so much, so that starting threads is small beside it.
READ_BYTES_MIN: Final = 256 * 1024**2
#: Of each core's buffers; larger than any cache it has to itself. With many cores less, so that all stay in bounds.
COPY_BYTES: Final = 64 * 1024**2
COPY_TOTAL_BYTES_MAX: Final = 1024**3
MATRIX_SIDE: Final = 1024
ACCUMULATORS: Final = 12
#: Some milliseconds.
LOOPS: Final = 1_000_000
PR_SET_PDEATHSIG: Final = 1
#: 512-bit register: 32 bf16 pairs make 64 operations (multiply and add), 64 int8 make 128.
_OPERATIONS: Final = {"bf16": 64, "int8": 128}
#: EVEX prefix byte and opcode of VDPBF16PS and VPDPBUSD (Intel SDM, volume 2), on zmm30 and zmm31.
_OPCODE: Final = {"bf16": (0x06, 0x52), "int8": (0x05, 0x50)}


@dataclass(frozen=True, slots=True)
class Rate:
    """The best of a few runs."""

    #: Work a second.
    value: float
    #: How much of the cores' time that run got; less than all where others used them too.
    share: float


def best_rate(work: float, cores: int, run: Callable[[], object], by_cpu_time: bool = False) -> Rate:
    """``work`` over the shortest of a few runs, per second; ``by_cpu_time``: per second that the cores spent on it."""
    best = Rate(0.0, 0.0)
    first, rounds = time.perf_counter(), 0
    while rounds < ROUNDS or time.perf_counter() - first < REPEAT_S:
        rounds += 1
        begin, begin_cpu = time.perf_counter(), time.process_time()
        run()
        took, spent = time.perf_counter() - begin, (time.process_time() - begin_cpu) / cores
        rate = work / (spent if by_cpu_time else took)
        if rate > best.value:
            best = Rate(rate, spent / took)
    return best


def on_all_cores(cores: int, work: Callable[[int], object]) -> Callable[[], None]:
    """A run of ``work(core)`` in one thread a core; the work must leave the interpreter lock alone."""

    def run() -> None:
        threads = [threading.Thread(target=work, args=(core,)) for core in range(cores)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


def memory_bandwidth(cores: int) -> Rate:
    """Bytes read and written a second by copying buffers that no cache holds, one pair a core."""
    import numpy as np

    size = min(COPY_BYTES, COPY_TOTAL_BYTES_MAX // (2 * cores))
    pairs = [(np.ones(size, np.uint8), np.empty(size, np.uint8)) for _ in range(cores)]
    return best_rate(
        2.0 * size * cores, cores, on_all_cores(cores, lambda core: np.copyto(pairs[core][1], pairs[core][0]))
    )


def read_bandwidth(working_set_bytes: int, cores: int) -> Rate:
    """Bytes read a second by summing a working set again and again, each core its own part."""
    import numpy as np

    parts = [np.ones(max(1, working_set_bytes // (8 * cores)), np.uint64) for _ in range(cores)]
    turns = max(1, READ_BYTES_MIN // working_set_bytes)

    def read(core: int) -> None:
        for _ in range(turns):
            parts[core].sum()

    return best_rate(float(sum(part.nbytes for part in parts)) * turns, cores, on_all_cores(cores, read))


def matmul_f32(cores: int) -> Rate:
    """Floating-point operations a second of numpy's matrix product, with the BLAS's own threads."""
    import numpy as np

    a = np.ones((MATRIX_SIDE, MATRIX_SIDE), np.float32)
    b, out = a.copy(), np.empty_like(a)
    return best_rate(2.0 * MATRIX_SIDE**3, cores, lambda: np.matmul(a, b, out))


def dot_loop(kind: str) -> bytes:
    """Machine code of ``void loop(uint64_t n)``: twelve independent dot products a turn, enough to fill the pipes."""
    prefix, opcode = _OPCODE[kind]
    code = bytearray()
    for register in range(ACCUMULATORS):
        high = 0x92 if register < 8 else 0x12
        code += bytes((0x62, high, prefix, 0x40, opcode, 0xC6 + 8 * (register % 8)))
    code += b"\x48\xff\xcf"  # dec rdi
    code += bytes((0x75, 256 - len(code) - 2))  # jnz to the first instruction
    return bytes(code) + b"\xc5\xf8\x77\xc3"  # vzeroupper; ret


def dot(kind: str, cores: int) -> Rate:
    """Operations a second of the processor's dot-product instruction on registers, all cores together."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(dot_loop(kind))
    loop = ctypes.CFUNCTYPE(None, ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    work = float(_OPERATIONS[kind]) * ACCUMULATORS * LOOPS * cores
    best = best_rate(work, cores, on_all_cores(cores, lambda _core: loop(LOOPS)), by_cpu_time=True)
    # Who else had the cores in between changes nothing of the rate while we had them.
    return Rate(best.value, 1.0)


def main() -> None:
    """Print the rate and the share of the cores as JSON."""
    kind, cores = sys.argv[1], int(sys.argv[2])
    # An agent that ends must not leave this behind.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    kinds: dict[str, Callable[[], Rate]] = {
        "memory_bandwidth": lambda: memory_bandwidth(cores),
        "matmul_f32": lambda: matmul_f32(cores),
        "dot_bf16_avx512": lambda: dot("bf16", cores),
        "dot_int8_avx512": lambda: dot("int8", cores),
    }
    if kind.startswith(READ_PREFIX):
        size = int(kind.removeprefix(READ_PREFIX))
        kinds[kind] = lambda: read_bandwidth(size, cores)
    print(json.dumps(asdict(kinds[kind]())))


if __name__ == "__main__":
    main()
