"""What a calibration keeps and what it rejects; windows and drivers here are constructed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from yunhe.adapt.samples import Sample
from yunhe.agent import calibrate_chip
from yunhe.agent.calibrate_chip import measure_chip
from yunhe.agent.calibrate_engines import CONTEXT_LENGTH, LOADS, SLOTS, TRIES_MAX, LoadWindows, probe_settings
from yunhe.agent.calibrate_model import find_model
from yunhe.catalogue.builtin import DEFAULT_MODEL
from yunhe.core.errors import InvalidRequest
from yunhe.core.units import GIB
from yunhe.drivers.chips.cpu.speed import Speed, SpeedKind
from yunhe.drivers.engines.xllamacpp import XllamacppEngine
from yunhe.pool.model import Card

CARD = Card("cpu-1", "cpu-x", "x", "cpu", "X", 8 * GIB, cores=2)
READ, PEAK = SpeedKind("read", "bytes_per_s", 1 << 20), SpeedKind("matmul", "flop_per_s", dtype="f32")


@dataclass
class ScriptedChip:
    """Gives the figures of a list, one a call."""

    speeds: dict[str, list[Speed | Exception]]
    asked: list[str] = field(default_factory=list)

    def calibration_kinds(self, card: Card) -> tuple[SpeedKind, ...]:
        return READ, PEAK

    def calibrate(self, card: Card, kind: SpeedKind) -> Speed:
        self.asked.append(kind.name)
        found = self.speeds[kind.name].pop(0)
        if isinstance(found, Exception):
            raise found
        return found


def test_a_disturbed_figure_is_measured_again_and_the_best_is_kept() -> None:
    chip = ScriptedChip(
        {"read": [Speed(5e9, 0.5), Speed(9e9, 0.7), Speed(7e9, 0.6)], "matmul": [Speed(1e11, 0.99)]},
    )
    tiers, peaks, notes = measure_chip(chip, CARD, lambda share, line: None)
    assert chip.asked == ["read"] * calibrate_chip.TRIES + ["matmul"]
    assert [(tier.working_set_bytes, tier.bytes_per_s, tier.own_share) for tier in tiers] == [(1 << 20, 9e9, 0.7)]
    assert [(peak.dtype, peak.value, peak.unit, peak.source) for peak in peaks] == [
        ("f32", 1e11, "flop_per_s", "measured")
    ]
    assert notes == ("read was disturbed: it had 70% of the cores",)


def test_an_undisturbed_figure_is_taken_at_once_and_a_missing_one_is_noted() -> None:
    chip = ScriptedChip({"read": [Speed(5e9, 1.0)], "matmul": [RuntimeError("no such instruction")]})
    tiers, peaks, notes = measure_chip(chip, CARD, lambda share, line: None)
    assert (len(tiers), peaks, notes) == (1, (), ("matmul could not be measured",))


def test_repeating_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate_chip, "RETRIES_LIMIT_S", -1.0)
    chip = ScriptedChip({"read": [Speed(5e9, 0.5)], "matmul": [Speed(1e11, 0.5)]})
    measure_chip(chip, CARD, lambda share, line: None)
    assert chip.asked == ["read", "matmul"]


def test_nothing_more_is_measured_once_the_caller_has_gone() -> None:
    chip = ScriptedChip({"read": [Speed(5e9, 0.5)], "matmul": []})
    measure_chip(chip, CARD, lambda share, line: None, lambda: not chip.asked)
    assert chip.asked == ["read"]


def window(tpot_s: float, foreign: float = 0.0, errors: int = 0) -> Sample:
    return Sample(
        candidate="c",
        round=1,
        duration_s=2.0,
        completed=2,
        input_tokens=520,
        output_tokens=64,
        output_tokens_due=64,
        ttft_s=(0.2, 0.3),
        tpot_s=(tpot_s, tpot_s),
        foreign_cpu_share=foreign,
        owns_port=True,
        errors=errors,
    )


def test_two_quiet_windows_are_enough_and_their_spread_is_told() -> None:
    windows = LoadWindows(LOADS[0])
    said = [windows.take(one) for one in (window(0.010), window(0.030, 0.4), window(0.011))]
    assert not windows.wanting
    assert "rejected: foreign CPU 40.0%" in said[1]
    probe = windows.probe()
    assert probe is not None and probe.quiet
    assert (probe.windows, probe.tpot_s, probe.ttft_s) == (2, pytest.approx(0.0105), 0.25)
    assert probe.spread == pytest.approx(0.1)
    # The length that the engine counted, not the one that was wished for.
    assert probe.input_tokens == 260
    (rejected,) = probe.rejected
    assert (rejected.tpot_s, rejected.foreign_cpu_share) == (0.030, 0.4)


def test_where_no_window_was_quiet_the_least_disturbed_stands_and_is_marked() -> None:
    windows = LoadWindows(LOADS[0])
    for one in (window(0.03, 0.5), window(0.02, 0.2), window(0.01, 0.0, errors=1)):
        windows.take(one)
    probe = windows.probe()
    assert probe is not None
    assert (probe.quiet, probe.tpot_s, probe.foreign_cpu_share, len(probe.rejected)) == (False, 0.02, 0.2, 2)


def test_faulty_windows_make_no_probe_and_trying_is_bounded() -> None:
    windows = LoadWindows(LOADS[0])
    for _ in range(TRIES_MAX):
        assert windows.wanting
        windows.take(window(0.01, errors=2))
    assert not windows.wanting
    assert windows.probe() is None


def test_an_engine_gets_slots_by_the_name_that_it_knows_and_room_for_the_probes() -> None:
    settings = probe_settings(XllamacppEngine(), find_model(DEFAULT_MODEL, 0.0), CARD)
    assert settings == {"slots": SLOTS, "context_length": CONTEXT_LENGTH}
    assert max(load.input_tokens + load.output_tokens for load in LOADS) < CONTEXT_LENGTH
    assert max(load.concurrency for load in LOADS) == SLOTS


def test_a_model_is_the_bundled_one_or_a_whole_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="neither"):
        find_model("no-such-model", 0.0)
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    with pytest.raises(InvalidRequest, match=r"broken\.gguf cannot be read as GGUF"):
        find_model(str(tmp_path / "broken.gguf"), 0.0)
