"""The records of the pool. Bytes are integers, times float unix seconds, unknown is None and never zero."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from yunhe.core.units import Source

Health = Literal["healthy", "degraded", "faulty", "missing", "unknown"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A number with its unit and where it comes from."""

    value: float
    #: bytes_per_s, flop_per_s, op_per_s, tokens_per_s ...
    unit: str
    source: Source


@dataclass(frozen=True, slots=True)
class Card:
    """One physical accelerator; a host's CPU counts as one card."""

    #: Stable identity: uuid, serial or PCI address of the device, never its index; unique within the centre.
    uid: str
    #: Chip id of the catalogue, e.g. ``cpu-amd-epyc-9b14`` : lowercase letters, digits, dots and dashes.
    chip: str
    maker: str
    #: cpu, gpu, npu, dcu, mlu ...
    kind: str
    model_name: str
    memory_bytes: int | None
    cores: int | None = None
    #: Instruction sets or compute capabilities that engines choose by: avx2, avx512f, avx512_bf16, amx_bf16 ...
    features: tuple[str, ...] = ()
    health: Health = "unknown"
    health_reason: str = ""
    #: memory_bandwidth, matmul_bf16, matmul_int8, matmul_f32 ... -> measured or declared speed.
    speeds: dict[str, Measure] = field(default_factory=dict)
    driver_version: str | None = None
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A host with cards."""

    name: str
    memory_bytes: int | None
    cpu_cores: int | None
    os: str
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything that a centre has, as its driver sees it now."""

    nodes: tuple[Node, ...]
    taken_at: float


@dataclass(frozen=True, slots=True)
class Centre:
    """A separately owned site under its own engine."""

    id: str
    name: str
    #: Entry-point name of its driver.
    driver: str
    created_at: float
    last_sync_at: float | None = None
    simulated: bool = False
