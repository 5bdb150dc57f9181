"""A calibration as a user runs it, on the chip that is here and with the real default engine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from yunhe.adapt.measured_chip import MeasuredChip

LIMIT_S = 60


def calibration(home: Path, *arguments: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-P", "-m", "yunhe.agent.calibrate", "--home", str(home), *arguments]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def yunhe(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-P", "-m", "yunhe", *arguments]
    environment = {"YUNHE_HOME": str(home), "PATH": "/usr/bin:/bin"}
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, env=environment)


def left_over(home: Path) -> list[str]:
    """Processes that still work for this data directory."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = " ".join(process.info["cmdline"] or [])
        if str(home) in words or str(home) in (process.info["cwd"] or ""):
            found.append(words)
    return found


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(900)
def test_a_calibration_measures_the_chip_and_its_engine_and_plans_use_it(tmp_path: Path) -> None:
    with calibration(tmp_path, "--engine", "xllamacpp", "--limit-s", str(LIMIT_S)) as process:
        assert process.stdout is not None
        documents: list[dict[str, Any]] = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0, documents[-1]
    shares = [document["share"] for document in documents[:-1]]
    assert shares == sorted(shares) and shares[-1] < 1
    made = msgspec.convert(documents[-1]["calibration"], MeasuredChip)
    path = tmp_path / "calibrations" / f"{made.chip}.json"
    assert documents[-1]["path"] == str(path)
    assert msgspec.json.decode(path.read_bytes(), type=MeasuredChip) == made
    assert len(made.tiers) == 6
    assert all(1e8 < tier.bytes_per_s < 1e13 for tier in made.tiers)
    assert {"f32"} <= {peak.dtype for peak in made.peaks}
    (engine,) = made.engines
    assert len(engine.digest) == 64
    assert engine.failure == "", engine
    for probe in engine.probes:
        assert probe.tokens_per_s > 0 and probe.windows >= 1
        assert probe.quiet == (probe.foreign_cpu_share <= 0.05)
    assert left_over(tmp_path) == []

    plan = yunhe(tmp_path, "plan", "smollm2-360m", "--chip", made.chip, "--isl", "128", "--osl", "32", "--json")
    assert plan.returncode == 0, plan.stderr
    ways = json.loads(plan.stdout)["ways"]
    assert {way["precision"] for way in ways} == {"int4", "int8", "bf16"}
    assert all(way["basis"].startswith("measured here") for way in ways)


def test_a_chip_that_was_not_measured_is_refused_with_the_command_that_measures_it(tmp_path: Path) -> None:
    plan = yunhe(tmp_path, "plan", "smollm2-360m", "--chip", "cpu-of-this-machine")
    assert plan.returncode == 3
    assert "yunhe chip calibrate" in plan.stderr
    (tmp_path / "calibrations").mkdir()
    (tmp_path / "calibrations" / "cpu-x.json").write_text("{}", encoding="utf-8")
    broken = yunhe(tmp_path, "plan", "smollm2-360m", "--chip", "cpu-x")
    assert broken.returncode == 1
    assert "yunhe chip calibrate" in broken.stderr


def test_an_engine_that_is_not_here_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    done = yunhe(tmp_path, "chip", "calibrate", "--engine", "no-such-engine")
    assert done.returncode == 1
    assert "no-such-engine" in done.stderr and "yunhe engine list" in done.stderr
    assert not (tmp_path / "calibrations").exists()


def test_an_interrupted_calibration_leaves_nothing_behind_and_keeps_the_older_result(tmp_path: Path) -> None:
    kept = tmp_path / "calibrations" / "kept.json"
    kept.parent.mkdir()
    kept.write_text("{}", encoding="utf-8")
    with calibration(tmp_path, "--engine", "xllamacpp") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        last = [json.loads(line) for line in process.stdout][-1]
    assert first["event"] == "begun"
    assert (process.returncode, last["event"], last["code"]) == (1, "failed", "interrupted")
    assert left_over(tmp_path) == []
    assert [path.name for path in kept.parent.iterdir()] == ["kept.json"]
