"""A journal as lines for people: every trial with what it gave and, where it does not count, why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from yunhe.adapt.adaptation import Confirmed, Ended, Entry, Judged, Noted
from yunhe.adapt.confirmation import load_of
from yunhe.adapt.report_records import LogLine
from yunhe.adapt.samples import Sample, SampleRules, Slo, judge_sample, window_value
from yunhe.adapt.trials import Begun, Crashed, Gated, Resumed, Windowed


def log_lines(entries: Sequence[Entry], numbers: Mapping[str, int], slo: Slo) -> tuple[LogLine, ...]:
    """In the journal's order; a trial that was written twice is there once. ``numbers``: by candidate id."""
    return tuple(_lines(entries, numbers, slo))


def _lines(entries: Sequence[Entry], numbers: Mapping[str, int], slo: Slo) -> Iterator[LogLine]:
    begun_s = entries[0].at_s if entries else 0.0
    rules, seen = SampleRules(), 0
    for entry in entries:
        if isinstance(entry, Begun):
            rules = entry.problem.rules
        if isinstance(entry, Windowed | Gated | Crashed):
            if entry.trial.number < seen:
                continue
            seen = entry.trial.number + 1
        made = _line(entry, rules, slo)
        number = None if made.candidate is None else numbers.get(made.candidate)
        yield replace(made, elapsed_s=max(0.0, entry.at_s - begun_s), number=number)


def _line(entry: Entry, rules: SampleRules, slo: Slo) -> LogLine:
    if isinstance(entry, Windowed | Gated | Crashed):
        return _trial_line(entry, rules, slo)
    if isinstance(entry, Confirmed):
        line = LogLine(at_s=entry.at_s, kind="confirmation", candidate=entry.candidate, reasons=entry.reasons)
        line = replace(line, round=entry.round, load=load_of(entry).label)
        return _with_sample(line, entry.sample, slo)
    return _other_line(entry)


def _trial_line(entry: Windowed | Gated | Crashed, rules: SampleRules, slo: Slo) -> LogLine:
    trial = entry.trial
    line = LogLine(at_s=entry.at_s, kind=trial.kind, candidate=trial.candidate, rung=trial.rung, spent_s=entry.spent_s)
    if isinstance(entry, Windowed):
        line = replace(line, round=trial.round, reasons=judge_sample(entry.sample, rules).reasons)
        return _with_sample(line, entry.sample, slo)
    if isinstance(entry, Gated):
        return replace(line, outcome=entry.outcome, reasons=entry.reasons)
    return replace(line, kind="crash", outcome=entry.cause, reasons=(entry.detail,))


def _with_sample(line: LogLine, sample: Sample, slo: Slo) -> LogLine:
    return replace(
        line,
        accepted=not line.reasons,
        outcome="rejected" if line.reasons else "accepted",
        output_tokens_per_s=window_value(sample, "output_tokens_per_s", slo),
        ttft_s=window_value(sample, "ttft_s", slo),
        tpot_s=window_value(sample, "tpot_s", slo),
        foreign_cpu_share=sample.foreign_cpu_share,
    )


def _other_line(entry: Begun | Resumed | Judged | Noted | Ended) -> LogLine:
    at_s = entry.at_s
    if isinstance(entry, Judged):
        return LogLine(at_s=at_s, kind="judged", outcome=entry.evidence.verdict, reasons=(entry.numerics,))
    if isinstance(entry, Noted):
        return LogLine(at_s=at_s, kind="build", candidate=entry.candidate, reasons=(entry.build_version,))
    if isinstance(entry, Ended):
        return LogLine(at_s=at_s, kind="ended", candidate=entry.chosen, outcome=entry.phase, reasons=(entry.reason,))
    if isinstance(entry, Begun):
        return LogLine(at_s=at_s, kind="begun", reasons=(f"{len(entry.problem.candidates)} candidates",))
    return LogLine(at_s=at_s, kind="resumed")
