"""Chip driver for CPUs: a host's processors count as one card."""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from yunhe.drivers.chips.cpu.speed import Speed, SpeedKind, measure_kind, measure_speeds, peak_kinds, read_kinds
from yunhe.pool.model import Card, Measure

#: Kernel flag -> our feature name; only what engines choose by.
_FEATURES: Final = {
    "avx": "avx",
    "avx2": "avx2",
    "f16c": "f16c",
    "fma": "fma",
    "avx_vnni": "avx_vnni",
    "avx512f": "avx512f",
    "avx512bw": "avx512bw",
    "avx512vl": "avx512vl",
    "avx512_vnni": "avx512_vnni",
    "avx512_bf16": "avx512_bf16",
    "avx512_fp16": "avx512_fp16",
    "amx_tile": "amx_tile",
    "amx_int8": "amx_int8",
    "amx_bf16": "amx_bf16",
    "asimd": "asimd",
    "asimddp": "asimddp",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
}
_NOISE: Final = re.compile(r"\((r|tm)\)|\bcpu\b|@.*$|\bprocessor\b|\b\d+-core\b", re.IGNORECASE)
#: What a machine says that has not been given its id yet.
_NO_MACHINE_ID: Final = "uninitialized"
_MAKERS: Final = {
    "GenuineIntel": "intel",
    "AuthenticAMD": "amd",
    "HygonGenuine": "hygon",
    "CentaurHauls": "zhaoxin",
    "  Shanghai  ": "zhaoxin",
    "0x48": "huawei",
    "0x41": "arm",
    "0x70": "phytium",
}


class CpuChip:
    """The host's CPU, read from /proc."""

    maker = "cpu"

    def probe_command(self) -> tuple[str, ...]:
        """Files of the kernel, then what names the host: its machine id where it has one, else its host name."""
        return ("cat", "/proc/cpuinfo", "/proc/meminfo", "/etc/machine-id", "/proc/sys/kernel/hostname")

    def parse(self, stdout: str, stderr: str, exit_code: int) -> list[Card]:
        """One card for the host; none when the text names no processor. Without a machine id the exit code is 1."""
        first, cores, memory, identity = _facts(stdout)
        if cores == 0:
            return []
        flags = (first.get("flags") or first.get("Features") or "").split()
        vendor = first.get("vendor_id") or first.get("CPU implementer") or ""
        maker = _MAKERS.get(vendor, "unknown")
        model_name = first.get("model name") or f"{maker} part {first.get('CPU part', 'unknown')}"
        return [
            Card(
                uid=f"cpu-{sha256(f'yunhe {identity}'.encode()).hexdigest()[:12]}" if identity else "cpu-0",
                chip=chip_id(maker, model_name, first),
                maker=maker,
                kind="cpu",
                model_name=model_name,
                memory_bytes=memory,
                cores=cores,
                features=tuple(sorted(_FEATURES[flag] for flag in flags if flag in _FEATURES)),
                health="healthy" if memory is not None else "unknown",
                health_reason="" if memory is not None else f"its memory is not known: {stderr[:200]}",
            )
        ]

    def measure(self, card: Card, cache_dir: Path) -> Card:
        """The card with measured speeds, cached by what the CPU is and how many cores it has.

        What was measured while others used the cores is shown but not cached: the next agent measures again.
        """
        cache = cache_dir / f"{card.chip}-{card.cores}.json"
        try:
            return replace(card, speeds=msgspec.json.decode(cache.read_bytes(), type=dict[str, Measure]))
        except (OSError, msgspec.MsgspecError):
            speeds, complete = measure_speeds(card.features, card.cores or 1)
        if not complete:
            return replace(card, speeds=speeds)
        cache_dir.mkdir(parents=True, exist_ok=True)
        waiting = cache.with_suffix(".new")
        waiting.write_bytes(msgspec.json.encode(speeds))
        waiting.rename(cache)
        return replace(card, speeds=speeds)

    def calibration_kinds(self, card: Card) -> tuple[SpeedKind, ...]:
        """What a calibration measures of this card: reading at six working sets, and peaks."""
        return (*read_kinds(), *peak_kinds(card.features))

    def calibrate(self, card: Card, kind: SpeedKind) -> Speed:
        """Measure one of them; takes about a second. Raises NotMeasured."""
        return measure_kind(kind, card.cores or 1)


def _facts(stdout: str) -> tuple[dict[str, str], int, int | None, str]:
    """First value of each name, number of processors, bytes of memory, and what names the host."""
    first: dict[str, str] = {}
    cores = 0
    memory: int | None = None
    identity = ""
    for line in stdout.splitlines():
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip(" \t")
        if not colon:
            identity = identity or (name if name != _NO_MACHINE_ID else "")
        elif name == "processor" and value.isdigit():
            cores += 1
        elif name == "MemTotal" and value.split()[:1] and value.split()[0].isdigit():
            memory = int(value.split()[0]) * 1024
        elif name and name not in first:
            first[name] = value
    return first, cores, memory, identity


def chip_id(maker: str, model_name: str, facts: dict[str, str]) -> str:
    """Catalogue id from the model's name; a name without any number gets family and model, which tell generations."""
    words = re.sub(r"[^a-z0-9.]+", "-", _NOISE.sub(" ", model_name).lower()).strip("-")
    if not words.startswith(maker) and maker != "unknown":
        words = f"{maker}-{words}"
    if not re.search(r"\d", words) and "cpu family" in facts:
        words = f"{words}-{facts['cpu family']}-{facts.get('model', '0')}"
    return f"cpu-{words}"
