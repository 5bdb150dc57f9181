"""How good the predictor is: published rows beside what it says of them, by group, with the interval's coverage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final

from msgspec import Struct

from yunhe.adapt import published
from yunhe.adapt.points import UnknownChipNumbers, chip_numbers
from yunhe.adapt.predictor import Estimate, Prediction, Predictor
from yunhe.adapt.published import Case, Refused
from yunhe.catalogue.architecture import Architecture
from yunhe.catalogue.chips import Chip

MILLISECONDS: Final = 1000.0


class ScoredRow(Struct, frozen=True):
    """One metric of one row; ``ttft_ms``, ``tpot_ms`` or ``output_tok_s``."""

    row_id: str
    metric: str
    published: float
    predicted: float
    low: float
    high: float
    level: str


class RefusedRow(Struct, frozen=True):
    """A row without a prediction, or a metric of one that cannot be."""

    row_id: str
    refused: str


class Group(Struct, frozen=True):
    """One metric over the rows of a source group at one level; ``level`` ``all`` for all of them."""

    group: str
    metric: str
    level: str
    rows: int
    #: Median of |predicted/published - 1|.
    median_error: float
    #: Share of published values inside the interval.
    coverage: float
    #: Median of predicted/published.
    median_ratio: float


class Report(Struct, frozen=True):
    """Of a whole file."""

    rows: list[ScoredRow | RefusedRow]
    groups: list[Group]


def validate(
    rows: Sequence[Mapping[str, str]],
    predictor: Predictor,
    architecture_of: Callable[[str], Architecture],
    chip_of: Callable[[str], Chip],
) -> Report:
    """Every row is predicted or refused with its reason."""
    cases: list[Case] = []
    refused: list[RefusedRow] = []
    for row in rows:
        read = published.read(row, architecture_of, chip_of)
        no = read.reason if isinstance(read, Refused) else _unknown(read)
        if isinstance(read, Refused) or no:
            refused.append(RefusedRow(read.row_id, no))
        else:
            cases.append(read)
            refused += [RefusedRow(read.row_id, doubt) for doubt in read.doubts]
    said = predictor.predict([case.point for case in cases], [case.shape for case in cases])
    scored = [
        (case.group, one) for case, prediction in zip(cases, said, strict=True) for one in score(case, prediction)
    ]
    return Report([*(one for _, one in scored), *refused], groups(scored))


def _unknown(case: Case) -> str:
    try:
        chip_numbers(case.point.chip, case.point.precision)
    except UnknownChipNumbers as error:
        return str(error)
    return ""


def score(case: Case, prediction: Prediction) -> list[ScoredRow]:
    """Each metric that the row publishes."""
    found = []
    pairs: list[tuple[str, float | None, Estimate, float]] = [
        ("ttft_ms", case.published_ttft_s, prediction.ttft_s, MILLISECONDS),
        ("tpot_ms", case.published_tpot_s, prediction.tpot_s, MILLISECONDS),
        ("output_tok_s", case.published_output_tokens_per_s, prediction.output_tokens_per_s, 1.0),
    ]
    for metric, known, said, unit in pairs:
        if known:
            many = case.instances if metric == "output_tok_s" else 1.0
            value, low, high = (round(one * unit * many, 4) for one in (said.value, said.low, said.high))
            found.append(ScoredRow(case.row_id, metric, known * unit, value, low, high, prediction.basis))
    return found


def groups(scored: Sequence[tuple[str, ScoredRow]]) -> list[Group]:
    """By group and metric, over all levels and each."""
    found: dict[tuple[str, str, str], list[ScoredRow]] = {}
    for group, row in scored:
        for level in ("all", row.level):
            found.setdefault((group, row.metric, level), []).append(row)
    return [_group(*key, rows) for key, rows in sorted(found.items())]


def _group(group: str, metric: str, level: str, rows: Sequence[ScoredRow]) -> Group:
    ratios = [row.predicted / row.published for row in rows]
    inside = sum(row.low <= row.published <= row.high for row in rows)
    return Group(
        group=group,
        metric=metric,
        level=level,
        rows=len(rows),
        median_error=round(median(abs(ratio - 1) for ratio in ratios), 4),
        coverage=round(inside / len(rows), 4),
        median_ratio=round(median(ratios), 4),
    )
