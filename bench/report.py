"""Medians, spreads, ratios, and the bars that they are held against."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from bench.scenario import SCENARIOS, Sample


@dataclass(frozen=True, slots=True)
class Bar:
    """A bound of the issue and what was measured against it."""

    what: str
    measured: float | None
    unit: str
    #: ``<=`` or ``>=``
    sense: str
    bound: float
    spread: tuple[float, float] | None = None

    def passed(self) -> bool | None:
        """None when it was not measured."""
        if self.measured is None:
            return None
        return self.measured <= self.bound if self.sense == "<=" else self.measured >= self.bound


def good(samples: Sequence[Sample], scenario: str, target: str) -> list[Sample]:
    """The samples of one cell: the quiet ones, or all when there was no quiet one."""
    cell = [s for s in samples if s.scenario == scenario and s.target == target]
    return [s for s in cell if not s.noisy] or cell


def _ratios(samples: Sequence[Sample], scenario: str, over: str, under: str) -> list[float]:
    """CPU per unit of work, one target's over another's, each pair from the same round."""
    values = []
    rounds = {s.round: s for s in good(samples, scenario, under)}
    for sample in good(samples, scenario, over):
        other = rounds.get(sample.round)
        if other and other.cpu_us_per_work and sample.cpu_us_per_work:
            values.append(sample.cpu_us_per_work / other.cpu_us_per_work)
    return values


def _bar(what: str, values: list[float], unit: str, sense: str, bound: float) -> Bar:
    if not values:
        return Bar(what, None, unit, sense, bound)
    return Bar(what, statistics.median(values), unit, sense, bound, (min(values), max(values)))


def _cpu(samples: Sequence[Sample], scenario: str) -> list[float]:
    return [s.cpu_us_per_work for s in good(samples, scenario, "yunhe") if s.cpu_us_per_work]


def _added_ttft(samples: Sequence[Sample]) -> list[float]:
    direct = {s.round: s for s in good(samples, "ttft", "direct")}
    return [
        s.ttft_ms["p50"] - direct[s.round].ttft_ms["p50"] for s in good(samples, "ttft", "yunhe") if s.round in direct
    ]


def bars(samples: Sequence[Sample]) -> list[Bar]:
    """Every bar of the issue, measured or not."""
    found = []
    for name in ("requests-32", "requests-256"):
        title = next(s.title for s in SCENARIOS if s.name == name)
        found.append(_bar(f"CPU per request: {title}", _cpu(samples, name), "us", "<=", 65))
        found.append(_bar(f"  beside nginx: {title}", _ratios(samples, name, "yunhe", "nginx"), "x", "<=", 6))
    for name, beside in (("paced-256", "paced-256"), ("counted-256", "paced-256")):
        title = next(s.title for s in SCENARIOS if s.name == name)
        found.append(_bar(f"CPU per event: {title}", _cpu(samples, name), "us", "<=", 15))
        if name == beside:
            ratios = _ratios(samples, name, "yunhe", "nginx")
            found.append(_bar(f"  beside nginx: {title}", ratios, "x", "<=", 2.5))
    found.append(_bar("added TTFT p50, 20 streams/s", _added_ttft(samples), "ms", "<=", 1))
    litellm = _ratios(samples, "requests-32", "litellm", "yunhe")
    found.append(_bar("LiteLLM's CPU per request over Yunhe's", litellm, "x", ">=", 150))
    rss = [s.rss_mb for n in ("paced-256", "counted-256") for s in good(samples, n, "yunhe") if s.rss_mb]
    found.append(_bar("memory of a worker with 256 streams", rss, "MB", "<=", 80))
    return found


def _spread(values: list[float], digits: int) -> str:
    if not values:
        return ""
    text = f"{statistics.median(values):,.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def _cells(samples: Sequence[Sample], scenario: str, target: str) -> list[str]:
    cell = good(samples, scenario, target)
    stream = next(s.stream for s in SCENARIOS if s.name == scenario)
    ratio = [] if target == "nginx" else _ratios(samples, scenario, target, "nginx")
    pick: Callable[[str], list[float]] = lambda q: [(s.ttft_ms if stream else s.latency_ms)[q] for s in cell]  # noqa: E731
    noisy = sum(s.noisy for s in samples if s.scenario == scenario and s.target == target)
    return [
        target,
        _spread([s.cpu_us_per_work for s in cell if s.cpu_us_per_work], 1),
        _spread(ratio, 2),
        _spread([s.work / s.seconds for s in cell], 0),
        _spread(pick("p50"), 2),
        _spread(pick("p99"), 2),
        _spread([s.rss_mb for s in cell if s.rss_mb], 0),
        str(sum(s.errors for s in cell)),
        f"{len(cell)}" + (f" (+{noisy} noisy)" if noisy else ""),
    ]


def show(console: Console, samples: Sequence[Sample], checked: Sequence[Bar]) -> None:
    """Both tables: every cell, then the bars."""
    heads = ["target", "CPU us/work", "over nginx", "work/s", "p50 ms", "p99 ms", "RSS MB", "errors", "samples"]
    table = Table(
        title="median (min-max); work is a request or an SSE event; ms is TTFT for streams", title_justify="left"
    )
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number == 0 else "right", no_wrap=True)
    for scenario in SCENARIOS:
        targets = [t for t in scenario.targets if any(s.scenario == scenario.name and s.target == t for s in samples)]
        if targets:
            table.add_section()
            table.add_row(f"[bold]{scenario.title}[/bold]")
        for target in targets:
            table.add_row(*_cells(samples, scenario.name, target))
    console.print(table)
    verdicts = Table(title="bars", title_justify="left")
    for head in ("", "measured", "bar", "verdict"):
        verdicts.add_column(head, no_wrap=True)
    for bar in checked:
        verdict = {True: "[green]PASS[/green]", False: "[red]FAIL[/red]", None: "not measured"}[bar.passed()]
        spread = f" ({bar.spread[0]:,.2f}-{bar.spread[1]:,.2f})" if bar.spread else ""
        measured = "" if bar.measured is None else f"{bar.measured:,.2f}{spread} {bar.unit}"
        verdicts.add_row(bar.what, measured, f"{bar.sense} {bar.bound:g} {bar.unit}", verdict)
    console.print(verdicts)
