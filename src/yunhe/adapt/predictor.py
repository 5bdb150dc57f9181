"""TTFT, TPOT and tokens a second of configurations, with an interval, what it rests on, and what binds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from yunhe.adapt import calibration as cal
from yunhe.adapt import offsets
from yunhe.adapt.calibration import Basis, Calibration, Metric
from yunhe.adapt.coefficients import prefill_s, real, step_s, tpot_s
from yunhe.adapt.fitting import Array
from yunhe.adapt.points import Columns, Point, columns
from yunhe.adapt.queueing import Outcome, Server, closed_loop
from yunhe.adapt.roofline import Terms, terms

#: Prompt tokens in one step, and sequences at once, where an engine's settings say nothing else.
CHUNK_TOKENS: Final = 8192
SLOTS: Final = 1024
#: Load generators draw lengths between this share of the nominal one and the whole.
SPREAD: Final = 0.8
_SEED: Final = 1
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
        of = columns(points)
        ideal = terms(of)
        free = cal.free(self._calibration.tpot, points)
        steady = tpot_s(of, ideal, free)
        servers = self.servers(points, shapes)
        outcomes = [simulated(*one) for one in zip(servers, points, shapes, strict=True)]
        ttft = np.exp(log_ttft(of, ideal, free, outcomes)(cal.free(self._calibration.ttft, points)))
        return [
            self._prediction(
                point, shape, float(steady[row]), float(ttft[row]), outcomes[row], _parts(ideal, free, row)
            )
            for row, (point, shape) in enumerate(zip(points, shapes, strict=True))
        ]

    def servers(self, points: Sequence[Point], shapes: Sequence[Shape]) -> list[Server]:
        """Each instance as the simulation takes it: a decode step as a straight line through one and all sequences."""
        free = cal.free(self._calibration.tpot, points)
        return servers(points, shapes, free)

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
        by = self._factors(point, shape.situation)
        # A burst has no steady state: the simulation alone knows how prompts and answers share the steps.
        burst = shape.situation == "burst"
        tpot = (float(np.mean(outcome.tpot_s)) if burst else steady_s) * tpot_scale * by["tpot"]
        ttft = (float(np.mean(outcome.ttft_s)) if burst else ttft_s) * ttft_scale * by["ttft"]
        if burst:
            rate = len(outcome.end_s) * point.output_tokens / float(outcome.end_s.max()) / tpot_scale
        else:
            rate = point.concurrency * point.output_tokens / (ttft + max(0.0, point.output_tokens - 1) * tpot)
        rate *= by["output_rate"]
        return Prediction(
            ttft_s=self._estimate("ttft", shape.situation, basis, ttft),
            tpot_s=self._estimate("tpot", shape.situation, basis, tpot),
            output_tokens_per_s=self._estimate("output_rate", shape.situation, basis, rate),
            basis=basis,
            binding=max(parts, key=lambda cause: parts[cause]),
            step_parts_s=parts,
        )

    def _factors(self, point: Point, situation: offsets.Situation) -> dict[str, float]:
        found = {name: offsets.factor(known, point, situation) for name, known in self._calibration.offsets.items()}
        if situation == "steady" and cal.fitted(self._calibration.tpot, point):
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


def servers(points: Sequence[Point], shapes: Sequence[Shape], free: Array) -> list[Server]:
    """See ``Predictor.servers``."""
    ideal = terms(columns(points))
    alone = terms(columns([_with_concurrency(point, 1.0) for point in points]))
    full, one = step_s(ideal, free), step_s(alone, free)
    whole, request = prefill_s(ideal, free), real(free)["request_s"]
    made = []
    for row, (point, shape) in enumerate(zip(points, shapes, strict=True)):
        copies = point.data_parallel
        sequence_s = max(0.0, float(full[row] - one[row]) / max(point.concurrency - 1, 1.0))
        made.append(
            Server(
                step_s=float(one[row]) - sequence_s,
                sequence_s=sequence_s,
                # Copies read prompts side by side; the simulation has one queue for all of them.
                prefill_token_s=float(whole[row] - request[row]) / point.input_tokens / copies,
                request_s=float(request[row]) / copies,
                chunk_tokens=shape.chunk_tokens * copies,
                slots=shape.slots,
                tokens_per_step=point.tokens_per_step,
            )
        )
    return made


def log_ttft(of: Columns, ideal: Terms, free: Array, outcomes: Sequence[Outcome]) -> TtftModel:
    """Time to first token as a sum of causes, each with a coefficient: a start, layers, the prompt alone, the queue
    of the simulation, a step that runs already, requests."""
    causes = np.stack(
        [
            np.full(len(outcomes), 1e-3),
            ideal.layers * 1e-4,
            prefill_s(ideal, free),
            np.array([float(np.mean(one.ttft_s)) for one in outcomes]),
            step_s(ideal, free),
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


def simulated(server: Server, point: Point, shape: Shape) -> Outcome:
    """The load of ``shape`` on a server."""
    rng = np.random.default_rng(_SEED)
    in_flight = shape.in_flight or max(1, round(point.concurrency))
    return closed_loop(server, in_flight, point.input_tokens, point.output_tokens, rng, SPREAD, shape.requests)


def _with_concurrency(point: Point, concurrency: float) -> Point:
    return Point(
        point.architecture, point.chip, point.precision, point.engine, point.input_tokens, point.output_tokens,
        concurrency, point.tensor_parallel, point.data_parallel, point.pipeline_parallel, point.tokens_per_step,
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
