"""The worker's figures as Prometheus text (format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from yunhe.gateway.stats import BUCKETS_S, Histogram, Stats


def text(stats: Stats, gauges: Mapping[str, float], worker: str) -> bytes:
    """Every figure; ``gauges`` are further present values by name."""
    stats.count()
    label = f'worker="{worker}"'
    lines: list[str] = []
    present = {"in_flight": stats.in_flight, "connections": stats.connections, **gauges}
    for name, value in present.items():
        lines.append(f"# TYPE yunhe_gateway_{name} gauge")
        lines.append(f"yunhe_gateway_{name}{{{label}}} {value:g}")
    counters = {
        "connections_total": stats.connections_total,
        "connections_refused_total": stats.connections_refused,
        "relayed_total": stats.relayed,
        "stalled_clients_total": stats.stalled,
        "attempts_failed_total": stats.attempts_failed,
        "adopted_streams_total": stats.adopted_streams,
    }
    for name, count in counters.items():
        lines.append(f"# TYPE yunhe_gateway_{name} counter")
        lines.append(f"yunhe_gateway_{name}{{{label}}} {count}")
    lines.append("# TYPE yunhe_gateway_requests_total counter")
    for (model, endpoint, outcome), count in stats.requests.items():
        lines.append(
            f'yunhe_gateway_requests_total{{{label},model="{_escaped(model)}",endpoint="{endpoint}",'
            f'outcome="{outcome}"}} {count}'
        )
    lines.append("# TYPE yunhe_gateway_refusals_total counter")
    for (status, code), count in stats.refusals.items():
        lines.append(f'yunhe_gateway_refusals_total{{{label},status="{status}",code="{_escaped(code)}"}} {count}')
    lines.append("# TYPE yunhe_gateway_tokens_total counter")
    for kind, tokens in (("prompt", stats.prompt_tokens), ("completion", stats.completion_tokens)):
        for model, count in tokens.items():
            lines.append(f'yunhe_gateway_tokens_total{{{label},model="{_escaped(model)}",kind="{kind}"}} {count}')
    lines.extend(_histogram("ttft_seconds", label, stats.ttft))
    lines.extend(_histogram("duration_seconds", label, stats.duration))
    return ("\n".join(lines) + "\n").encode()


def _histogram(name: str, label: str, histogram: Histogram) -> Iterable[str]:
    yield f"# TYPE yunhe_gateway_{name} histogram"
    total = 0
    for bound, count in zip((*BUCKETS_S, "+Inf"), histogram.counts, strict=True):
        total += count
        yield f'yunhe_gateway_{name}_bucket{{{label},le="{bound}"}} {total}'
    yield f"yunhe_gateway_{name}_sum{{{label}}} {histogram.sum_s:.6f}"
    yield f"yunhe_gateway_{name}_count{{{label}}} {total}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
