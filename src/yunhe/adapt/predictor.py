"""TTFT, TPOT and tokens a second of configurations, with an interval, what it rests on, and what binds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from yunhe.adapt import calibration as cal
from yunhe.adapt import offsets
from yunhe.adapt.calibration import Basis, Calibration, Metric
from yunhe.adapt.coefficients import PLAIN, Factors, prefill_s, real, step_s, tpot_s
from yunhe.adapt.fitting import Array
from yunhe.adapt.points import Columns, Point, columns
from yunhe.adapt.queueing import Lengths, Outcome, Server, closed_loop
from yunhe.adapt.roofline import Terms, terms

#: Prompt tokens in one step, and sequences at once, where an engine's settings say nothing else.
CHUNK_TOKENS: Final = 8192
SLOTS: Final = 1024
_SEED: Final = 1
#: Rounds after which a load that is bound by arrivals has settled.
_SETTLING: Final = 6
#: What a probe speaks for: engine, chip, architecture, precision, tensor parallel size.
_Identity = tuple[str, str, str, str, int]


class Estimate(Struct, frozen=True):
    """A value and where 90 % of what is measured should lie."""

    value: float
    low: float
    high: float


class Prediction(Struct, frozen=True):
    """Of one point. Seconds; tokens a second of the instance."""

    ttft_s: Estimate
    tpot_s: Estimate
    output_tokens_per_s: Estimate
    basis: Basis
    #: What takes most of a decode step.
    binding: str
    #: Seconds of a decode step by cause.
    step_parts_s: dict[str, float]


class Probe(Struct, frozen=True):
    """A measurement by which predictions of the same engine, chip and model are scaled."""

    point: Point
    ttft_s: float | None = None
    tpot_s: float | None = None


class Shape(Struct, frozen=True):
    """How a load is put on, beside the point's own numbers."""

    #: Requests in all; None: many, in steady state.
    requests: int | None = None
    #: Sent without waiting for answers, where more are sent than can run; None: as many as run.
    in_flight: int | None = None
    slots: int = SLOTS
    chunk_tokens: int = CHUNK_TOKENS
    situation: offsets.Situation = "steady"
    lengths: Lengths = "uniform"
    #: Requests come no faster than this; None: as soon as one may be in flight.
    rate_per_s: float | None = None


class Predictor:
    """Predicts by one calibration."""

    def __init__(self, calibration: Calibration, probes: Sequence[Probe] = ()) -> None:
        self._calibration = calibration
        self._scales: dict[_Identity, tuple[float, float]] = {}
        if probes:
            self._scales = self._scaled(probes)

    def predict(self, points: Sequence[Point], shapes: Sequence[Shape] | None = None) -> list[Prediction]:
        """One for each point. Raises UnknownChipNumbers."""
        if not points:
            return []
        shapes = shapes or [Shape()] * len(points)
        points = self._settled(points, shapes)
        of = columns(points)
        ideal = terms(of)
        free = cal.free(self._calibration.tpot, points)
        factors = self.factors(points, shapes)
        steady = tpot_s(of, ideal, free, factors)
        servers = self.servers(points, shapes)
        outcomes = [simulated(*one) for one in zip(servers, points, shapes, strict=True)]
        ttft = np.exp(log_ttft(of, ideal, free, outcomes, factors)(cal.free(self._calibration.ttft, points)))
        return [
            self._prediction(
                point, shape, float(steady[row]), float(ttft[row]), outcomes[row], _parts(ideal, free, row)
            )
            for row, (point, shape) in enumerate(zip(points, shapes, strict=True))
        ]

    def servers(self, points: Sequence[Point], shapes: Sequence[Shape]) -> list[Server]:
        """Each instance as the simulation takes it: a decode step as a straight line through one and all sequences."""
        free = cal.free(self._calibration.tpot, points)
        return servers(points, shapes, free, self.factors(points, shapes))

    def factors(self, points: Sequence[Point], shapes: Sequence[Shape]) -> Factors:
        """What loads that the formulas were not fitted on do to each cause."""
        situations = [
            None if fitted_on(self._calibration, point, shape) else shape.situation
            for point, shape in zip(points, shapes, strict=True)
        ]
        return offsets.factors(self._calibration.offsets, points, situations)

    def _settled(self, points: Sequence[Point], shapes: Sequence[Shape]) -> Sequence[Point]:
        """With fewer in flight where requests come more slowly than they are served (Little, Operations Research 9,
        1961)."""
        slow = [row for row, shape in enumerate(shapes) if shape.rate_per_s is not None]
        if not slow:
            return points
        settled = list(points)
        most = np.array([points[row].concurrency for row in slow])
        arrivals = np.array([shapes[row].rate_per_s or 0.0 for row in slow])
        factors = self.factors([points[row] for row in slow], [shapes[row] for row in slow])
        for _ in range(_SETTLING):
            some = [settled[row] for row in slow]
            of = columns(some)
            free, ideal = cal.free(self._calibration.tpot, some), terms(of)
            latency = prefill_s(ideal, free, factors) + of.output_tokens * tpot_s(of, ideal, free, factors)
            for row, load in zip(slow, np.clip(arrivals * latency, 1.0, most), strict=True):
                settled[row] = _with_concurrency(settled[row], float(load))
        return settled

    def _scaled(self, probes: Sequence[Probe]) -> dict[_Identity, tuple[float, float]]:
        plain = self.predict([probe.point for probe in probes])
        found: dict[_Identity, tuple[list[float], list[float]]] = {}
        for probe, said in zip(probes, plain, strict=True):
            ttft, tpot = found.setdefault(_identity(probe.point), ([], []))
            if probe.ttft_s:
                ttft.append(probe.ttft_s / said.ttft_s.value)
            if probe.tpot_s:
                tpot.append(probe.tpot_s / said.tpot_s.value)
        return {key: (_geometric(ttft), _geometric(tpot)) for key, (ttft, tpot) in found.items()}

    def _prediction(
        self, point: Point, shape: Shape, steady_s: float, ttft_s: float, outcome: Outcome, parts: dict[str, float]
    ) -> Prediction:
        scale = self._scales.get(_identity(point))
        ttft_scale, tpot_scale = scale or (1.0, 1.0)
        basis: Basis = "probed" if scale else cal.basis(self._calibration.tpot, point)
        by = self._factors(point, shape)
        # A burst has no steady state: the simulation alone knows how prompts and answers share the steps.
        burst = shape.situation == "burst"
        tpot = (float(np.mean(outcome.tpot_s)) if burst else steady_s) * tpot_scale * by["tpot"]
        ttft = (float(np.mean(outcome.ttft_s)) if burst else ttft_s) * ttft_scale * by["ttft"]
        if burst:
            rate = float(outcome.output_tokens.sum() / outcome.end_s.max()) / tpot_scale * by["output_rate"]
        else:
            latency = ttft + max(0.0, point.output_tokens - 1) * tpot
            rate = _rate(point, shape, latency, by["output_rate"])
        return Prediction(
            ttft_s=self._estimate("ttft", shape.situation, basis, ttft),
            tpot_s=self._estimate("tpot", shape.situation, basis, tpot),
            output_tokens_per_s=self._estimate("output_rate", shape.situation, basis, rate),
            basis=basis,
            binding=max(parts, key=lambda cause: parts[cause]),
            step_parts_s=parts,
        )

    def _factors(self, point: Point, shape: Shape) -> dict[str, float]:
        known = self._calibration.offsets
        found: dict[str, float] = {
            name: offsets.factor(known.get(name, {}), point, shape.situation) for name in cal.METRICS
        }
        if fitted_on(self._calibration, point, shape):
            found |= {"ttft": 1.0, "tpot": 1.0}
        return found

    def _estimate(self, metric: Metric, situation: offsets.Situation, basis: Basis, value: float) -> Estimate:
        known = self._calibration.spread[metric]
        alike = [ratio for key, ratio in known.items() if key.startswith(f"{situation}:")]
        spread = known.get(cal.spread_key(situation, basis))
        if spread is None:
            # Nothing was left out that rests on as little: at least as wide as the widest that was.
            spread = max(alike or known.values(), key=lambda one: one.high / one.low)
        # Where a situation is missed to one side, the value itself is still what is said.
        return Estimate(value, value * min(spread.low, 1.0), value * max(spread.high, 1.0))


def fitted_on(calibration: Calibration, point: Point, shape: Shape) -> bool:
    """Whether the formulas were fitted on such loads of such an engine, so that they need no factors."""
    return shape.situation == "steady" and cal.fitted(calibration.tpot, point)


def servers(points: Sequence[Point], shapes: Sequence[Shape], free: Array, factors: Factors = PLAIN) -> list[Server]:
    """See ``Predictor.servers``."""
    ideal = terms(columns(points))
    alone = terms(columns([_with_concurrency(point, 1.0) for point in points]))
    full, one = step_s(ideal, free, factors), step_s(alone, free, factors)
    whole, request = prefill_s(ideal, free, factors), real(free)["request_s"] * factors.prefill
    made = []
    for row, (point, shape) in enumerate(zip(points, shapes, strict=True)):
        copies = point.data_parallel
        sequence_s = max(0.0, float(full[row] - one[row]) / max(point.concurrency - 1, 1.0))
        made.append(
            Server(
                step_s=float(one[row]) - sequence_s,
                sequence_s=sequence_s,
                # Copies read prompts side by side; the simulation has one queue for all of them.
                prefill_token_s=float(whole[row] - request[row]) / _computed(point) / copies,
                request_s=float(request[row]) / copies,
                chunk_tokens=shape.chunk_tokens * copies,
                slots=shape.slots,
                tokens_per_step=point.tokens_per_step,
            )
        )
    return made


def log_ttft(
    of: Columns, ideal: Terms, free: Array, outcomes: Sequence[Outcome], factors: Factors = PLAIN
) -> TtftModel:
    """Time to first token as a sum of causes, each with a coefficient: a start, layers, the prompt alone, the queue
    of the simulation, a step that runs already, requests."""
    causes = np.stack(
        [
            np.full(len(outcomes), 1e-3),
            ideal.layers * 1e-4,
            prefill_s(ideal, free, factors),
            np.array([float(np.mean(one.ttft_s)) for one in outcomes]),
            step_s(ideal, free, factors),
            of.concurrency * 1e-4,
        ]
    )
    return TtftModel(causes)


#: Where the fit of TTFT begins: logarithms of the causes' coefficients.
TTFT_START: Final = np.array([2.0, 0.0, -1.0, -1.0, 0.0, 0.0])


class TtftModel:
    """``fitting.LogModel`` over ``log_ttft``'s causes."""

    def __init__(self, causes: Array) -> None:
        self._causes = causes

    def __call__(self, free: Array) -> Array:
        """Logarithm of the seconds of each row."""
        found: Array = np.log(np.sum(self._causes * np.exp(free), axis=0))
        return found


def _rate(point: Point, shape: Shape, latency_s: float, factor: float) -> float:
    """Tokens a second when so many are in flight and each takes so long, or when the last one is sent so late."""
    rate = point.concurrency * point.output_tokens / latency_s * factor
    if shape.rate_per_s is None:
        return rate
    if shape.requests is None:
        return min(rate, shape.rate_per_s * point.output_tokens)
    sent_s = (shape.requests - 1) / shape.rate_per_s
    return min(rate, shape.requests * point.output_tokens / (sent_s + latency_s))


def simulated(server: Server, point: Point, shape: Shape) -> Outcome:
    """The load of ``shape`` on a server."""
    rng = np.random.default_rng(_SEED)
    in_flight = shape.in_flight or max(1, round(point.concurrency))
    return closed_loop(server, in_flight, _computed(point), point.output_tokens, rng, shape.lengths, shape.requests)


def _computed(point: Point) -> float:
    """Prompt tokens that are not in the cache already."""
    return max(1.0, point.input_tokens - point.cached_tokens)


def _with_concurrency(point: Point, concurrency: float) -> Point:
    return Point(
        point.architecture, point.chip, point.precision, point.engine, point.input_tokens, point.output_tokens,
        concurrency, point.tensor_parallel, point.data_parallel, point.pipeline_parallel, point.tokens_per_step,
        point.cached_tokens, point.drafted_tokens,
    )  # fmt: skip


def _identity(point: Point) -> _Identity:
    return point.engine, point.chip.id, point.architecture.id, point.precision.name, point.tensor_parallel


def _geometric(ratios: list[float]) -> float:
    return float(np.exp(np.mean(np.log(ratios)))) if ratios else 1.0


def _parts(ideal: Terms, free: Array, row: int) -> dict[str, float]:
    """Where the seconds of a decode step go."""
    c = {name: float(values[row]) for name, values in real(free).items()}
    t = {name: float(getattr(ideal, name)[row]) for name in Terms.__struct_fields__}
    return {
        "memory bandwidth: weights": t["weights_s"] / c["weights"] + t["experts_s"] / c["experts"],
        "memory bandwidth: cache": t["cache_s"] / c["cache"],
        "compute": t["compute_s"] / c["compute"],
        "links": t["messages_s"] / c["link"] + t["collectives"] * c["collective_s"],
        "overheads of layers and steps": t["layers"] * c["layer_s"]
        + t["expert_layers"] * c["expert_layer_s"]
        + t["sequences"] * c["sequence_s"]
        + c["step_s"],
    }
