"""``python -m bench``: measure, show, and say which bars hold.

Exit status: 0 when every measured bar holds and nothing failed, 7 when one does not.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import report
from bench.litellm import LiteLLM
from bench.machine import Cores
from bench.nginx import Nginx
from bench.programs import CACHE, Upstream, wire_us
from bench.scenario import SCENARIOS, SECTIONS, Sample, Scenario, take
from bench.target import Direct, Target
from bench.yunhe import Yunhe

TARGETS = ("direct", "nginx", "yunhe", "litellm")
#: A sample in which others took more than this share of the measured core is taken again, so many times.
FOREIGN_MAX = 0.10
ATTEMPTS_MAX = 3
#: On a machine that never falls quiet the run must still end.
REPEATS_A_ROUND_MAX = 6
SETTLE_TIMEOUT_S = 20.0
GATE_FAILED = 7


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Yunhe's gateway beside others.")
    parser.add_argument("--quick", action="store_true", help="short windows, one round: a look, not a proof")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default 5, quick 1)")
    parser.add_argument("--seconds", type=float, help="length of a window (default 3, quick 1.5)")
    parser.add_argument("--section", action="append", choices=SECTIONS, help="only this section; may be repeated")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this target; may be repeated")
    parser.add_argument("--scenario", action="append", choices=[s.name for s in SCENARIOS], help="only this scenario")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample and bar to FILE")
    parser.add_argument("--accept-noise", action="store_true", help="neither reject nor repeat noisy samples")
    return parser.parse_args()


class Bench:
    """One run: upstream and targets up, rounds of samples, everything down."""

    def __init__(self, arguments: argparse.Namespace, console: Console) -> None:
        self._console = console
        self._arguments = arguments
        self._cores = Cores.choose()
        self._rounds = arguments.rounds or (1 if arguments.quick else 5)
        self._seconds = arguments.seconds or (1.5 if arguments.quick else 3.0)
        self._warmup_s = 0.5 if arguments.quick else 1.0
        self._scenarios = [
            s
            for s in SCENARIOS
            if s.section in (arguments.section or SECTIONS) and (not arguments.scenario or s.name in arguments.scenario)
        ]
        chosen = arguments.target or TARGETS
        self._wanted = [t for t in TARGETS if t in chosen and any(t in s.targets for s in self._scenarios)]
        self._targets: dict[str, Target] = {}
        self._failed: dict[str, str] = {}
        self.samples: list[Sample] = []
        self.wire_us = 0.0
        self._repeats_left = REPEATS_A_ROUND_MAX * self._rounds
        self.metering: dict[str, Any] | None = None

    def run(self) -> None:
        """Everything, cleaned up whatever happens."""
        CACHE.mkdir(parents=True, exist_ok=True)
        self.wire_us = wire_us(self._cores.gateway)
        homes = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
        upstream = Upstream(self._cores.rest)
        try:
            self._start(upstream, homes)
            for number in range(self._rounds):
                for scenario in self._scenarios:
                    self._round(scenario, number)
            yunhe = self._targets.get("yunhe")
            if isinstance(yunhe, Yunhe):
                self.metering = _settled(yunhe, upstream)
        finally:
            for target in self._targets.values():
                target.stop()
            upstream.stop()
            shutil.rmtree(homes, ignore_errors=True)

    def _start(self, upstream: Upstream, homes: Path) -> None:
        core, rest = self._cores.gateway, self._cores.rest
        made: dict[str, Target] = {
            "direct": Direct(upstream),
            "nginx": Nginx(upstream, core, homes / "nginx"),
            "yunhe": Yunhe(upstream, core, rest, homes / "yunhe"),
            "litellm": LiteLLM(upstream, core, homes / "litellm"),
        }
        for name in self._wanted:
            self._console.print(f"starting {name} ...")
            self._targets[name] = made[name]
            try:
                made[name].start()
            except RuntimeError as error:
                self._failed[name] = str(error)
                self._console.print(f"[red]{name} cannot be measured:[/red] {error}", highlight=False)
                self._targets.pop(name).stop()

    def _round(self, scenario: Scenario, number: int) -> None:
        """One sample of each target, in an order that turns."""
        names = [name for name in scenario.targets if name in self._targets]
        for name in names if number % 2 == 0 else reversed(names):
            for attempt in range(ATTEMPTS_MAX):
                sample = self._sample(scenario, self._targets[name], number)
                self.samples.append(sample)
                if not sample.noisy or attempt + 1 == ATTEMPTS_MAX or self._repeats_left <= 0:
                    break
                self._repeats_left -= 1

    def _sample(self, scenario: Scenario, target: Target, number: int) -> Sample:
        roots = [pid for t in self._targets.values() if (pid := t.pid()) is not None]
        sample = take(scenario, target, roots, self._cores, self._seconds, self._warmup_s, number)
        noisy = sample.foreign + sample.stolen > FOREIGN_MAX and not self._arguments.accept_noise
        cpu = f"{sample.cpu_us_per_work:10.1f} us" if sample.cpu_us_per_work else " " * 13
        line = (
            f"{number + 1}/{self._rounds} {scenario.name:13} {target.name:8}{cpu}"
            f" {sample.work / sample.seconds:10,.0f}/s"
            f"  p50 {(sample.ttft_ms if scenario.stream else sample.latency_ms)['p50']:8.2f} ms"
            f"  foreign {sample.foreign:4.0%}" + ("  [yellow]noisy: rejected[/yellow]" if noisy else "")
        )
        self._console.print(line + (f"  [red]{sample.note}[/red]" if sample.note else ""), highlight=False)
        return dataclasses.replace(sample, noisy=noisy)

    def document(self, checked: Sequence[report.Bar]) -> dict[str, Any]:
        """All that was found, as plain data."""
        return {
            "machine": {
                "processor": platform.processor(),
                "kernel": platform.release(),
                "python": platform.python_version(),
            },
            "wire_us": self.wire_us,
            "rounds": self._rounds,
            "seconds": self._seconds,
            "samples": [dataclasses.asdict(s) for s in self.samples],
            "bars": [{**dataclasses.asdict(b), "passed": b.passed()} for b in checked],
            "metering": self.metering,
            "not_measured": self._failed,
        }

    def sound(self) -> bool:
        """Whether nothing failed: every target started, no request went wrong, each was metered once."""
        metered = self.metering is None or self.metering["exact"]
        return not self._failed and metered and not any(s.errors for s in self.samples if s.target == "yunhe")


def _settled(yunhe: Yunhe, upstream: Upstream) -> dict[str, Any]:
    """Wait for the spool to empty, then compare what was metered with what the upstream was asked."""
    until = time.monotonic() + SETTLE_TIMEOUT_S
    requests, counts = upstream.stats()["from_yunhe"], yunhe.counts()
    while counts["sent"] != requests and time.monotonic() < until:
        time.sleep(0.2)
        requests, counts = upstream.stats()["from_yunhe"], yunhe.counts()
    return {"upstream_requests": requests, **counts, "exact": counts["sent"] == requests and not counts["duplicates"]}


def main() -> int:
    """Run and report."""
    arguments = options()
    # Being ended by `timeout` or make must end the gateways too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    console = Console(stderr=False, width=None if sys.stdout.isatty() else 200)
    bench = Bench(arguments, console)
    bench.run()
    checked = report.bars(bench.samples)
    report.show(console, bench.samples, checked)
    console.print(f"this machine: {bench.wire_us:.1f} us for one send and recv of an event's bytes in one thread")
    if bench.metering:
        words = "[green]PASS[/green]" if bench.metering["exact"] else "[red]FAIL[/red]"
        console.print(f"metering: {bench.metering} {words}", highlight=False)
    if arguments.json:
        arguments.json.write_text(json.dumps(bench.document(checked), indent=1))
    failed = [bar for bar in checked if bar.passed() is False]
    return 0 if not failed and bench.sound() else GATE_FAILED


if __name__ == "__main__":
    sys.exit(main())
