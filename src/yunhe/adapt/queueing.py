"""Time to first token is queueing: a small discrete-event simulation of continuous batching with chunked prefill.

The engine works in steps. While prompts wait, a step carries up to ``chunk_tokens`` of them beside the running
sequences; otherwise every step yields one token (or several, with speculation) for each. Between arrivals and ends
nothing changes, so that the simulation jumps from one event to the next: its cost goes with requests, not tokens.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Array = npt.NDArray[np.float64]
_NEVER: Final = float("inf")
#: What a nominal length says of each: ``uniform`` between a share of it and the whole, as load generators draw them;
#: ``fixed``: all are so long; ``natural``: their mean, where people wrote them (exponential, the long tail cut).
Lengths = Literal["uniform", "fixed", "natural"]
_SHORTEST: Final = 0.8
_LONGEST: Final = 5.0


class Server(Struct, frozen=True):
    """One instance as the simulation sees it. Seconds and tokens."""

    #: A decode step takes ``step_s + sequences * sequence_s``.
    step_s: float
    sequence_s: float
    prefill_token_s: float
    #: Once for each prompt.
    request_s: float
    chunk_tokens: float
    #: Sequences that it runs at once; further ones wait.
    slots: int
    tokens_per_step: float = 1.0


class Request(Struct, frozen=True):
    """One request: when it comes (ignored in a closed loop), and how long its two parts are."""

    arrival_s: float
    input_tokens: float
    output_tokens: float


class Outcome(Struct, frozen=True):
    """Seconds of each request, in their order."""

    ttft_s: Array
    tpot_s: Array
    end_s: Array
    #: Tokens of each answer.
    output_tokens: Array


class _Run:
    """The state between events."""

    def __init__(self, server: Server, requests: Sequence[Request], in_flight_max: int | None) -> None:
        self.server = server
        self.requests = requests
        self.now_s = 0.0
        self.steps = 0.0
        self.waiting: list[int] = []
        self.front = 0
        #: Tokens of the prompt at the front that are still to be read; None before it is begun.
        self.left: float | None = None
        #: (step at which it ends, request).
        self.running: list[tuple[float, int]] = []
        count = len(requests)
        self.came_s = np.array([0.0 if in_flight_max else one.arrival_s for one in requests])
        self.first_s = np.zeros(count)
        self.end_s = np.zeros(count)
        self.next = 0
        self.closed = in_flight_max is not None
        if in_flight_max is not None:
            self.next = min(in_flight_max, count)
            self.waiting = list(range(self.next))

    def admit_arrived(self) -> None:
        """Open loop: those whose time has come join the queue."""
        while not self.closed and self.next < len(self.requests) and self.came_s[self.next] <= self.now_s:
            self.waiting.append(self.next)
            self.next += 1

    def next_arrival_s(self) -> float:
        """When the next request comes by itself."""
        return _NEVER if self.closed or self.next >= len(self.requests) else float(self.came_s[self.next])

    def step_time_s(self) -> float:
        """Of a decode step with those that run now."""
        return self.server.step_s + self.server.sequence_s * len(self.running) if self.running else 0.0

    def prefill_step(self) -> None:
        """One step that carries prompts."""
        server = self.server
        budget, cost_s = server.chunk_tokens, 0.0
        begun: list[int] = []
        while self.front < len(self.waiting) and budget > 0 and len(self.running) + len(begun) < server.slots:
            request = self.waiting[self.front]
            if self.left is None:
                self.left = self.requests[request].input_tokens
                cost_s += server.request_s
            taken = min(budget, self.left)
            budget -= taken
            self.left -= taken
            cost_s += taken * server.prefill_token_s
            if self.left <= 0:
                begun.append(request)
                self.front += 1
                self.left = None
        self.now_s += self.step_time_s() + cost_s
        self.steps += 1
        for request in begun:
            self.first_s[request] = self.now_s
            more = max(0.0, self.requests[request].output_tokens - 1) / server.tokens_per_step
            heapq.heappush(self.running, (self.steps + more, request))

    def decode_until_event(self) -> None:
        """Steps without prompts, until a sequence ends or a request comes."""
        step_s = self.step_time_s()
        count = max(0.0, self.running[0][0] - self.steps)
        coming = self.next_arrival_s()
        if len(self.running) < self.server.slots and coming < self.now_s + count * step_s:
            count = float(np.ceil((coming - self.now_s) / step_s))
        self.now_s += count * step_s
        self.steps += count

    def end_finished(self) -> None:
        """Sequences whose last token is out; in a closed loop the next request comes at once."""
        while self.running and self.running[0][0] <= self.steps:
            _, request = heapq.heappop(self.running)
            self.end_s[request] = self.now_s
            if self.closed and self.next < len(self.requests):
                self.came_s[self.next] = self.now_s
                self.waiting.append(self.next)
                self.next += 1


def simulate(server: Server, requests: Sequence[Request], in_flight_max: int | None = None) -> Outcome:
    """Serve all requests: in a closed loop of ``in_flight_max``, or at their own times (sorted) when it is None."""
    run = _Run(server, requests, in_flight_max)
    while True:
        run.admit_arrived()
        if run.front < len(run.waiting) and len(run.running) < server.slots:
            run.prefill_step()
        elif run.running:
            run.decode_until_event()
        elif run.next_arrival_s() < _NEVER:
            run.now_s = run.next_arrival_s()
        else:
            break
        run.end_finished()
    outputs = np.array([one.output_tokens for one in requests])
    tpot_s = (run.end_s - run.first_s) / np.maximum(outputs - 1, 1)
    return Outcome(run.first_s - run.came_s, tpot_s, run.end_s, outputs)


def closed_loop(
    server: Server,
    in_flight: int,
    input_tokens: float,
    output_tokens: float,
    rng: np.random.Generator,
    lengths: Lengths,
    count: int | None = None,
) -> Outcome:
    """``count`` requests, else ten rounds of ``in_flight`` (at least forty)."""
    count = count or max(10 * in_flight, 40)
    inputs, outputs = input_tokens * drawn(lengths, rng, count), output_tokens * drawn(lengths, rng, count)
    requests = [Request(0.0, float(a), max(1.0, round(float(b)))) for a, b in zip(inputs, outputs, strict=True)]
    return simulate(server, requests, in_flight)


def drawn(lengths: Lengths, rng: np.random.Generator, count: int) -> Array:
    """Lengths over the nominal one."""
    if lengths == "fixed":
        return np.ones(count)
    if lengths == "natural":
        return np.minimum(rng.exponential(1.0, count), _LONGEST)
    return rng.uniform(_SHORTEST, 1.0, count)


def open_loop(
    server: Server, rate_per_s: float, count: int, input_tokens: float, output_tokens: float, rng: np.random.Generator
) -> Outcome:
    """``count`` requests with exponential gaps."""
    times = np.cumsum(rng.exponential(1 / rate_per_s, count))
    return simulate(server, [Request(float(at), input_tokens, output_tokens) for at in times])


def disaggregated(
    prefill: Server, decode: Server, prefill_instances: int, transfer_s: float, requests: Sequence[Request]
) -> Outcome:
    """Prompts read by instances of their own, first come first served; their cache moves in ``transfer_s``."""
    free = [0.0] * prefill_instances
    ready = []
    for request in requests:
        begun = max(heapq.heappop(free), request.arrival_s)
        done = begun + prefill.request_s + request.input_tokens * prefill.prefill_token_s
        heapq.heappush(free, done)
        ready.append(done + transfer_s)
    order = np.argsort(ready, kind="stable")
    moved = [Request(ready[number], 0.0, requests[number].output_tokens) for number in order]
    after = simulate(decode, moved)
    came = np.array([one.arrival_s for one in requests])
    ttft, tpot, end = np.zeros(len(requests)), np.zeros(len(requests)), np.zeros(len(requests))
    ttft[order] = after.ttft_s + np.array(ready)[order] - came[order]
    tpot[order], end[order] = after.tpot_s, after.end_s
    return Outcome(ttft, tpot, end, np.array([one.output_tokens for one in requests]))
