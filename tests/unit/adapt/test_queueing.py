"""Continuous batching, simulated: what a queue must do, whatever the numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunhe.adapt.queueing import Lengths, Request, Server, closed_loop, disaggregated, drawn, open_loop, simulate

SERVER = Server(step_s=0.01, sequence_s=0.001, prefill_token_s=0.0001, request_s=0.0, chunk_tokens=1000, slots=8)


def test_one_request_alone_takes_its_prompt_and_then_a_step_for_each_token() -> None:
    found = simulate(SERVER, [Request(0.0, 500, 11)])
    assert found.ttft_s[0] == pytest.approx(0.05)
    assert found.tpot_s[0] == pytest.approx(0.011)
    assert found.end_s[0] == pytest.approx(0.05 + 10 * 0.011)


def test_a_long_prompt_is_read_in_pieces_and_slows_those_that_run() -> None:
    short, long = Request(0.0, 10, 101), Request(0.5, 5000, 2)
    alone = simulate(SERVER, [short]).tpot_s[0]
    both = simulate(SERVER, [short, long])
    assert both.tpot_s[0] > alone
    # Five pieces, each beside a decode step.
    assert both.ttft_s[1] >= 5000 * 0.0001 + 5 * 0.011 - 0.011


def test_what_finds_no_slot_waits() -> None:
    requests = [Request(0.0, 10, 100)] * 8 + [Request(0.0, 10, 100)]
    found = simulate(SERVER, requests)
    assert found.ttft_s[8] >= found.end_s[:8].min()


def test_times_of_a_closed_loop_add_up_from_those_of_each_cause() -> None:
    """By which a fit needs one simulation for each cause."""

    def run(step: float, prefill: float) -> tuple[float, float, float]:
        server = Server(0.01 * step, 0.001 * step, 0.0001 * prefill, 0.005 * prefill, 1000, 8)
        found = closed_loop(server, 20, 600, 50, np.random.default_rng(2), "natural", 100)
        return float(found.ttft_s.mean()), float(found.tpot_s.mean()), float(found.end_s[-1])

    both = [2 * step + 3 * prefill for step, prefill in zip(run(1, 0), run(0, 1), strict=True)]
    assert run(2, 3) == pytest.approx(both)


@pytest.mark.parametrize(
    ("lengths", "mean", "spread"), [("fixed", 1.0, 0.0), ("uniform", 0.9, 0.06), ("natural", 1.0, 0.97)]
)
def test_lengths_are_drawn_as_said(lengths: Lengths, mean: float, spread: float) -> None:
    found = drawn(lengths, np.random.default_rng(4), 20_000)
    assert (found.mean(), found.std()) == (pytest.approx(mean, abs=0.02), pytest.approx(spread, abs=0.03))


def test_speculation_ends_sequences_sooner() -> None:
    plain = simulate(SERVER, [Request(0.0, 10, 101)])
    twice = simulate(Server(0.01, 0.001, 0.0001, 0.0, 1000, 8, tokens_per_step=2.0), [Request(0.0, 10, 101)])
    assert twice.tpot_s[0] == pytest.approx(plain.tpot_s[0] / 2)


def test_an_open_loop_beyond_capacity_queues_without_end_and_one_below_does_not() -> None:
    rng = np.random.default_rng
    calm = open_loop(SERVER, 2.0, 200, 100, 50, rng(1))
    flood = open_loop(SERVER, 40.0, 200, 100, 50, rng(1))
    assert np.median(calm.ttft_s) < 0.05
    assert flood.ttft_s[-1] > 10 * np.median(calm.ttft_s)
    assert np.mean(np.diff(flood.ttft_s[100:])) > 0


def test_prompts_read_elsewhere_do_not_slow_tokens() -> None:
    requests = [Request(0.1 * number, 4000, 50) for number in range(20)]
    mixed = simulate(SERVER, requests)
    apart = disaggregated(SERVER, SERVER, 4, 0.02, requests)
    assert np.mean(apart.tpot_s) < np.mean(mixed.tpot_s)
    assert np.all(apart.ttft_s >= 0.4 + 0.02)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12),
    st.floats(1, 3000),
    st.floats(1, 200),
    st.integers(1, 16),
    st.integers(1, 4000),
)
def test_every_request_is_served_once_and_no_time_is_negative(
    in_flight: int, inputs: float, outputs: float, slots: int, chunk: int
) -> None:
    server = Server(0.01, 0.0005, 0.0001, 0.002, chunk, slots)
    found = closed_loop(server, in_flight, inputs, outputs, np.random.default_rng(0), 0.8)
    assert len(found.end_s) == max(10 * in_flight, 40)
    assert np.all(found.ttft_s > 0)
    assert np.all(found.tpot_s >= 0)
    assert np.all(found.end_s >= found.ttft_s)
