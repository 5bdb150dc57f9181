"""Which way to run a model would be best: candidates over chips, formats and cards, predicted, refused with a reason
or compared.

Whole grids are predicted at once by the formulas; only the best load of each way is simulated for its queue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec
import numpy as np
from msgspec import Struct

from yunhe.adapt import calibration as cal
from yunhe.adapt.coefficients import tpot_s
from yunhe.adapt.fitting import Array
from yunhe.adapt.memory import sequence_bytes, sequences_max, weight_bytes
from yunhe.adapt.points import Point, UnknownChipNumbers, chip_numbers, columns
from yunhe.adapt.precision import PRECISIONS, Precision
from yunhe.adapt.predictor import Estimate, Predictor, Shape, simulated
from yunhe.adapt.roofline import terms
from yunhe.catalogue.architecture import Architecture
from yunhe.catalogue.chips import Chip

_CONCURRENCIES: Final = tuple(2**power for power in range(11))
_SIZES: Final = (1, 2, 4, 8, 16)
_HOUR_S: Final = 3600.0
_MILLION: Final = 1e6
_QUANTILE: Final = 0.95


class Goals(Struct, frozen=True):
    """The load, and what it must keep. Seconds; None: no bound."""

    input_tokens: float = 1024.0
    output_tokens: float = 256.0
    #: Requests in flight that the deployment shall bear; None: as many as pay.
    concurrency: float | None = None
    ttft_p95_s: float | None = None
    tpot_p95_s: float | None = None
    #: Credits for a million output tokens.
    price_max: float | None = None


class Supply(Struct, frozen=True):
    """Cards of one chip that may be used."""

    chip: Chip
    engines: tuple[str, ...]
    #: None: as many as wanted (a chip of the catalogue, not of the pool).
    cards: int | None = None
    #: Credits for a card's hour; None: no price is known.
    credits_per_card_hour: float | None = None


class Way(Struct, frozen=True):
    """One way to run the model, at the load that suits it best."""

    chip: str
    engine: str
    precision: str
    tensor_parallel: int
    concurrency: int
    ttft_s: Estimate
    ttft_p95_s: float
    tpot_s: Estimate
    tpot_p95_s: float
    output_tokens_per_s: Estimate
    output_tokens_per_s_per_card: float
    #: Sequences of this length that memory holds; None where the chip's memory is unknown.
    sequences_max: int | None
    memory_bytes_per_card: float
    credits_per_million_tokens: float | None
    joules_per_million_tokens: float | None
    binding: str
    basis: str
    chosen: bool = False


class No(Struct, frozen=True):
    """A way that is out, and why."""

    chip: str
    engine: str
    precision: str
    tensor_parallel: int | None
    reason: str


class Plan(Struct, frozen=True):
    """The answer: ways, the best first and marked, and what was refused."""

    model: str
    objective: Literal["cost", "tokens per second per card"]
    ways: tuple[Way, ...]
    refused: tuple[No, ...]


#: (engine, chip, precision) -> reason why it cannot run there, empty when it can.
Support = Callable[[str, Chip, Precision], str]


class _Group(Struct, frozen=True):
    """Everything of a way but its load."""

    supply: Supply
    engine: str
    precision: Precision
    tensor_parallel: int

    def no(self, reason: str) -> No:
        return No(self.supply.chip.id, self.engine, self.precision.name, self.tensor_parallel, reason)


def plan(
    architecture: Architecture,
    supplies: Sequence[Supply],
    precisions: Sequence[str],
    goals: Goals,
    predictor: Predictor,
    calibration: cal.Calibration,
    support: Support,
) -> Plan:
    """Every chip x engine x format x cards, each at the largest load that keeps the goals."""
    groups, refused = _groups(architecture, supplies, precisions, goals, support)
    ways: list[Way] = []
    for group, point in _loads(architecture, groups, goals, calibration, refused):
        way = _way(group, point, goals, predictor)
        if isinstance(way, No):
            refused.append(way)
        else:
            ways.append(way)
    priced = bool(ways) and all(way.credits_per_million_tokens is not None for way in ways)
    ways.sort(key=lambda way: (way.credits_per_million_tokens or 0.0) if priced else -way.output_tokens_per_s_per_card)
    if ways:
        ways[0] = msgspec.structs.replace(ways[0], chosen=True)
    return Plan(architecture.id, "cost" if priced else "tokens per second per card", tuple(ways), tuple(refused))


def _groups(
    architecture: Architecture, supplies: Sequence[Supply], precisions: Sequence[str], goals: Goals, support: Support
) -> tuple[list[_Group], list[No]]:
    """What can run at all: supported, known, and within memory."""
    found: list[_Group] = []
    refused: list[No] = []
    tokens = goals.input_tokens + goals.output_tokens
    for supply in supplies:
        for engine in supply.engines:
            for name in precisions:
                precision = PRECISIONS[name]
                reason = support(engine, supply.chip, precision) or _unknown(supply.chip, precision)
                if reason:
                    refused.append(No(supply.chip.id, engine, name, None, reason))
                    continue
                sizes = [size for size in _SIZES if supply.cards is None or size <= supply.cards]
                fitting = [s for s in sizes if sequences_max(architecture, precision, supply.chip, s, tokens) >= 1]
                if not fitting:
                    need = weight_bytes(architecture, precision) + sequence_bytes(architecture, precision, tokens)
                    where = f"{sizes[-1]} cards" if sizes else "no cards"
                    refused.append(
                        No(supply.chip.id, engine, name, None, f"needs {need / 1e9:.0f} GB; {where} hold less")
                    )
                found += [_Group(supply, engine, precision, size) for size in fitting]
    return found, refused


def _unknown(chip: Chip, precision: Precision) -> str:
    try:
        chip_numbers(chip, precision)
    except UnknownChipNumbers as error:
        return str(error)
    return ""


def _loads(
    architecture: Architecture, groups: Sequence[_Group], goals: Goals, calibration: cal.Calibration, refused: list[No]
) -> list[tuple[_Group, Point]]:
    """For each group the largest load whose TPOT keeps its bound by the formulas."""
    tokens = goals.input_tokens + goals.output_tokens
    points: list[tuple[int, Point]] = []
    for number, group in enumerate(groups):
        chip, precision, cards = group.supply.chip, group.precision, group.tensor_parallel
        room = sequences_max(architecture, precision, chip, cards, tokens)
        loads: list[float] = [load for load in _CONCURRENCIES if load <= room]
        if goals.concurrency is not None:
            wanted = [goals.concurrency] * (goals.concurrency <= room)
            loads = [load for load in loads if load < goals.concurrency] + wanted
        points += [
            (
                number,
                Point(
                    architecture, chip, precision, group.engine, goals.input_tokens, goals.output_tokens, load, cards
                ),
            )
            for load in loads
        ]
    if not points:
        return []
    only = [point for _, point in points]
    of = columns(only)
    factors = Predictor(calibration).factors(only, [Shape()] * len(only))
    found = tpot_s(of, terms(of), cal.free(calibration.tpot, only), factors)
    best: dict[int, tuple[float, Point]] = {}
    fastest: dict[int, float] = {}
    for (number, point), seconds in zip(points, found, strict=True):
        fastest[number] = min(fastest.get(number, np.inf), float(seconds))
        if goals.tpot_p95_s is not None and seconds > goals.tpot_p95_s:
            continue
        rate = point.concurrency / float(seconds) / point.cards
        if number not in best or rate > best[number][0]:
            best[number] = (rate, point)
    refused += [
        groups[number].no(f"even one request alone takes {seconds * 1000:.1f} ms a token")
        for number, seconds in fastest.items()
        if number not in best
    ]
    return [(groups[number], point) for number, (_, point) in best.items()]


def _way(group: _Group, point: Point, goals: Goals, predictor: Predictor) -> Way | No:
    """At this load, or at a half, a quarter ... where the queue breaks a bound."""
    shape = Shape()
    while True:
        (said,) = predictor.predict([point], [shape])
        (server,) = predictor.servers([point], [shape])
        queue = simulated(server, point, shape)
        ttft_p95 = said.ttft_s.value * _tail(queue.ttft_s)
        tpot_p95 = said.tpot_s.value * _tail(queue.tpot_s)
        late = goals.ttft_p95_s is not None and ttft_p95 > goals.ttft_p95_s
        slow = goals.tpot_p95_s is not None and tpot_p95 > goals.tpot_p95_s
        if not (late or slow):
            break
        if point.concurrency <= 1:
            what = f"TTFT p95 {ttft_p95 * 1000:.0f} ms" if late else f"TPOT p95 {tpot_p95 * 1000:.1f} ms"
            return group.no(f"{what} with one request at a time")
        point = msgspec.structs.replace(point, concurrency=max(1.0, point.concurrency // 2))
    rate = said.output_tokens_per_s
    price = group.supply.credits_per_card_hour
    power = group.supply.chip.power_watts
    cost = None if price is None else price * point.cards / _HOUR_S / rate.value * _MILLION
    if goals.price_max is not None and cost is not None and cost > goals.price_max:
        return group.no(f"{cost:.2f} credits for a million tokens")
    memory = weight_bytes(point.architecture, point.precision)
    tokens = goals.input_tokens + goals.output_tokens
    memory += point.concurrency * sequence_bytes(point.architecture, point.precision, tokens, point.tensor_parallel)
    room = sequences_max(point.architecture, point.precision, point.chip, point.cards, tokens)
    return Way(
        chip=point.chip.id,
        engine=point.engine,
        precision=point.precision.name,
        tensor_parallel=point.tensor_parallel,
        concurrency=int(point.concurrency),
        ttft_s=said.ttft_s,
        ttft_p95_s=ttft_p95,
        tpot_s=said.tpot_s,
        tpot_p95_s=tpot_p95,
        output_tokens_per_s=rate,
        output_tokens_per_s_per_card=rate.value / point.cards,
        sequences_max=None if np.isinf(room) else int(room),
        memory_bytes_per_card=memory / point.cards,
        credits_per_million_tokens=cost,
        joules_per_million_tokens=None if power is None else power.value * point.cards / rate.value * _MILLION,
        binding=said.binding,
        basis=said.basis,
    )


def _tail(seconds: Array) -> float:
    """The 95th percentile over the mean."""
    mean = float(np.mean(seconds))
    return float(np.quantile(seconds, _QUANTILE)) / mean if mean > 0 else 1.0
