"""Where measured loads lie under a card's roofs: which resource binds, and how much of it is used.

Williams, Waterman, Patterson, "Roofline: an insightful visual performance model", CACM 52 (4), 2009. Counted of a
dense model: 2 operations a parameter and token. A decode step reads the weights once for all sequences, so with a step
each TPOT and n tokens a second the operations for each byte are 2 * parameters * n * TPOT / weights. The cache of keys
and values is left out: at the lengths of a trial it is small beside the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from yunhe.adapt.report_records import Ceiling, LoadView, OperatingPoint, RooflineView, SideView
from yunhe.catalogue.model import Model
from yunhe.pool.model import Card

#: The roof that binds is this one, whatever faster tiers (``cache_bandwidth_l3`` ...) there are.
MAIN_MEMORY = "memory_bandwidth"
_COMPUTE_UNITS = ("flop_per_s", "op_per_s")


def roofline_view(
    cards: Sequence[Card], model: Model, loads: Sequence[LoadView], input_tokens: float
) -> RooflineView | None:
    """None where no card says how fast its memory and its arithmetic are.

    ``input_tokens``: of a request, on average. Points are left out for models whose tokens do not pass all parameters
    (experts), and for models that do not say how many there are.
    """
    ceilings = tuple(_ceilings(cards))
    memory = next((one.value for one in ceilings if one.name == MAIN_MEMORY), None)
    compute = max((one.value for one in ceilings if one.kind == "compute"), default=None)
    if memory is None or compute is None:
        return None
    points: list[OperatingPoint] = []
    size_bytes = model.weights.size_bytes
    if model.parameters and size_bytes and not any("expert" in name for name in model.shape):
        token = 2.0 * model.parameters
        for load in loads:
            sides: tuple[tuple[Literal["baseline", "choice"], SideView], ...]
            sides = (("baseline", load.baseline), ("choice", load.choice))
            for role, side in sides:
                rate, tpot, ttft = side.output_tokens_per_s, side.tpot_s, side.ttft_s
                if rate and tpot:
                    intensity = token * rate.value * tpot.value / size_bytes
                    points.append(_point(load.label, role, "decode", intensity, token * rate.value, memory, compute))
                if ttft and load.concurrency == 1:
                    # Alone, the time to the first token is that of the prompt: nobody waits for others.
                    intensity, speed = token * input_tokens / size_bytes, token * input_tokens / ttft.value
                    points.append(_point(load.label, role, "prefill", intensity, speed, memory, compute))
    return RooflineView(ceilings=ceilings, points=tuple(points))


def _ceilings(cards: Sequence[Card]) -> list[Ceiling]:
    """Speeds that all cards tell, of all of them together; highest first of each kind."""
    if not cards:
        return []
    found = []
    for name, first in cards[0].speeds.items():
        if not all(name in card.speeds and card.speeds[name].unit == first.unit for card in cards):
            continue
        value = sum(card.speeds[name].value for card in cards)
        if first.unit == "bytes_per_s":
            found.append(Ceiling(name=name, value=value, kind="bandwidth", source=first.source))
        elif first.unit in _COMPUTE_UNITS:
            found.append(Ceiling(name=name, value=value, kind="compute", source=first.source))
    return sorted(found, key=lambda one: (one.kind, -one.value))


def _point(
    label: str,
    role: Literal["baseline", "choice"],
    stage: Literal["decode", "prefill"],
    intensity: float,
    speed: float,
    memory: float,
    compute: float,
) -> OperatingPoint:
    roof = min(intensity * memory, compute)
    return OperatingPoint(
        label=label,
        role=role,
        stage=stage,
        operations_per_byte=intensity,
        operations_per_s=speed,
        binding="memory" if intensity * memory < compute else "compute",
        attained_share=speed / roof,
    )
