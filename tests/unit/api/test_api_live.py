"""The sums of live metrics over workers' reports."""

from yunhe.control.live import live_view, percentile
from yunhe.serve.snapshot import WorkerStats


def report(worker: str = "0", requests: int = 2, p50: float | None = 10.0, p95: float | None = 40.0) -> WorkerStats:
    return WorkerStats(
        worker=worker,
        pid=1,
        at=0.0,
        window_s=1.0,
        requests=requests,
        errors=0,
        prompt_tokens=20,
        completion_tokens=50,
        in_flight=3,
        ttft_ms_p50=p50,
        ttft_ms_p95=p95,
        duration_ms_p50=p50,
        duration_ms_p95=p95,
        spool_pending=0,
        snapshot_revision=1,
        by_model={"tiny": requests},
    )


def test_nothing_reported_is_null_and_not_zero() -> None:
    view = live_view([], [], now=1000.0, window_s=300.0)
    assert view.requests_per_s is None
    assert view.ttft_ms_p95 is None
    assert view.models == ()
    assert {point.requests_per_s for point in view.series} == {None}
    assert len(view.series) == 60


def test_rates_are_summed_over_workers() -> None:
    reports = [(990.5 + second, report(worker)) for second in range(10) for worker in ("0", "1")]
    view = live_view(reports, [report("0"), report("1")], now=1000.0, window_s=300.0)
    assert view.requests_per_s == 4.0
    assert view.completion_tokens_per_s == 100.0
    assert view.in_flight == 6
    assert view.workers == 2
    assert [(m.model, m.requests_per_s) for m in view.models] == [("tiny", 4.0)]


def test_a_control_that_just_started_divides_by_what_it_has_seen() -> None:
    view = live_view([(999.0, report()), (1000.0, report())], [report()], now=1000.0, window_s=300.0)
    assert view.requests_per_s == 2.0


def test_a_model_without_recent_requests_is_still_named() -> None:
    view = live_view([(800.0, report())], [], now=1000.0, window_s=300.0)
    assert [(m.model, m.requests_per_s) for m in view.models] == [("tiny", 0.0)]
    assert view.requests_per_s is None


def test_percentiles_of_one_report_are_its_own() -> None:
    parts = [(7, 10.0, 40.0)]
    assert percentile(0.5, parts) == 10.0
    assert percentile(0.95, parts) == 40.0


def test_percentiles_of_single_requests_are_exact() -> None:
    parts = [(1, float(n), float(n)) for n in range(1, 101)]
    assert percentile(0.5, parts) == 50.0
    assert percentile(0.95, parts) == 95.0


def test_the_series_leaves_out_the_step_that_is_still_filling() -> None:
    view = live_view([(1001.0, report())], [report()], now=1002.0, window_s=300.0)
    assert all(point.requests_per_s is None for point in view.series)
    later = live_view([(1001.0, report())], [report()], now=1005.0, window_s=300.0)
    assert later.series[-1].requests_per_s == 2 / 5
    assert later.series[-1].at == 1005.0
