"""Fits the predictor and writes src/yunhe/adapt/data/calibration.json with its own error, by cross-validation.

    python tools/fit_predictor.py SILICON_SAMPLE.csv PUBLISHED.csv [--report FILE]

SILICON_SAMPLE.csv lies in the wheel aiconfigurator-core (pip download --no-deps, unzip): systems/silicon_sample.csv.
PUBLISHED.csv has the columns of ``yunhe.adapt.published``. Neither is shipped; only what was fitted is.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from yunhe.adapt import calibration as cal
from yunhe.adapt import offsets, published
from yunhe.adapt.calibration import Calibration, Ratio
from yunhe.adapt.coefficients import START, Factors, tpot_s
from yunhe.adapt.fitting import Fit, Level, fit
from yunhe.adapt.points import UnknownChipNumbers, chip_numbers, columns
from yunhe.adapt.predictor import TTFT_START, Predictor, fitted_on, log_ttft, servers, simulated
from yunhe.adapt.published import Case
from yunhe.adapt.roofline import terms
from yunhe.adapt.validation import ScoredRow, score
from yunhe.catalogue import architecture_catalogue, chip_catalogue

OUT = Path(__file__).resolve().parents[1] / "src" / "yunhe" / "adapt" / "data" / "calibration.json"
FOLDS = 5
#: At once; each holds the sample.
PROCESSES = 1
#: Quantiles of the interval; wider than 5 % and 95 %, for rows to come differ more than rows left out.
LOW, HIGH = 0.035, 0.965
NO_SPREAD = {metric: {"nothing seen": Ratio(0.5, 2.0, 0)} for metric in ("ttft", "tpot", "output_rate")}
TIMES = {"ttft": "ttft_ms", "tpot": "tpot_ms"}
SAME_ARCHITECTURE = {"kimi experts mla": "deepseek experts mla"}
FITTED_GROUP = "aiconfigurator-silicon-sample"


def silicon_rows(path: Path) -> list[dict[str, str]]:
    """Aggregated rows of the sample in the columns of published results, without exact duplicates."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for row in csv.DictReader(path.open()):
        if row["mode"] != "agg" or float(row["silicon_tpot_ms"] or 0) <= 0:
            continue
        at_once = re.search(r"silicon_concurrency=(\d+)", row["silicon_data_source"])
        sizes = {
            "tp": "tp_size",
            "pp": "pp_size",
            "dp": "attention_dp_size",
            "moe_tp": "moe_tp_size",
            "moe_ep": "moe_ep_size",
        }
        one = {
            "row_id": row["id"],
            "source_group": FITTED_GROUP,
            "model": row["model_path"],
            "chip": f"NVIDIA {row['system']}",
            "chip_count": "1",
            "engine": row["backend"],
            "precision": row["precision"] or row["gemm_quant_mode"] or "bf16",
            "parallelism": " ".join(f"{name}{row[column] or 1}" for name, column in sizes.items()),
            "isl": row["isl"],
            "osl": row["osl"],
            "concurrency_or_batch": at_once[1] if at_once else row["batch_size"],
            "scenario": "aggregated serving, closed loop",
            "ttft_ms": row["silicon_ttft_ms"],
            "tpot_ms": row["silicon_tpot_ms"],
        }
        one["output_tok_s"] = rate_of(one)
        found[tuple(value for name, value in one.items() if name != "row_id")] = one
    return list(found.values())


def rate_of(row: dict[str, str]) -> str:
    """Tokens a second in a closed loop, which the sample does not give: every request in flight takes so long."""
    ttft_ms, tpot_ms, tokens = float(row["ttft_ms"] or 0), float(row["tpot_ms"]), float(row["osl"])
    return f"{float(row['concurrency_or_batch']) * tokens / (ttft_ms + (tokens - 1) * tpot_ms) * 1000:.4f}"


def cases_of(rows: Sequence[dict[str, str]]) -> tuple[list[Case], dict[str, int]]:
    """Rows that can be predicted, and how many were refused for what."""
    cases, refused = [], {}
    for row in rows:
        read = published.read(row, architecture_catalogue.find, chip_catalogue.find)
        if isinstance(read, Case):
            try:
                chip_numbers(read.point.chip, read.point.precision)
                cases.append(read)
                continue
            except UnknownChipNumbers as error:
                reason = str(error)
        else:
            reason = read.reason
        refused[reason] = refused.get(reason, 0) + 1
    return cases, refused


def levels(cases: Sequence[Case], prices: dict[str, float]) -> list[Level]:
    """Who shares which deviations, at what price."""
    keys = cal.keys([case.point for case in cases])
    return [Level(name, tuple(keys[name]), price) for name, price in prices.items()]


def fit_tpot(cases: Sequence[Case]) -> Fit:
    """On steady rows."""
    of = columns([case.point for case in cases])
    ideal = terms(of)
    measured = np.array([case.published_tpot_s for case in cases])
    return fit(lambda free: np.log(tpot_s(of, ideal, free)), measured, START, levels(cases, cal.PRICES))


def fit_ttft(cases: Sequence[Case], tpot: cal.FitDocument) -> Fit:
    """On steady rows that publish it, with the step times of a fit of TPOT."""
    cases = [case for case in cases if case.published_ttft_s]
    points, shapes = [case.point for case in cases], [case.shape for case in cases]
    of = columns(points)
    free = cal.free(tpot, points)
    outcomes = [simulated(*one) for one in zip(servers(points, shapes, free), points, shapes, strict=True)]
    model = log_ttft(of, terms(of), free, outcomes)
    measured = np.array([case.published_ttft_s for case in cases])
    prices = {"engine": 0.05, "engine-family": 0.2, "engine-chip": 0.2, "engine-model": 0.2}
    return fit(model, measured, TTFT_START, levels(cases, prices))


def calibrate(cases: Sequence[Case]) -> Calibration:
    """One whole fit, without intervals."""
    steady = [case for case in cases if case.shape.situation == "steady" and case.published_tpot_s]
    core = [case for case in steady if case.group == FITTED_GROUP]
    tpot = cal.document(fit_tpot(core))
    return with_offsets(Calibration("", "", tpot, cal.document(fit_ttft(core, tpot)), {}, {}), cases)


def with_offsets(plain: Calibration, cases: Sequence[Case]) -> Calibration:
    """Factors of causes first, then those of metrics on what is left over."""
    causes = causes_learned(plain, cases)
    found = msgspec.structs.replace(plain, offsets=causes)
    return msgspec.structs.replace(found, offsets=causes | learned(found, cases))


#: Each cause alone: the simulation of a closed loop is linear in them, for its order of events goes by steps.
ALONE = [Factors(1.0, 0.0, 0.0), Factors(0.0, 1.0, 0.0), Factors(0.0, 0.0, 1.0)]


def causes_learned(plain: Calibration, cases: Sequence[Case]) -> dict[str, dict[str, float]]:
    """Bursts: a factor on each cause, fitted to all that is published of them. Steady loads of engines that the
    formulas were not fitted on: one scale on all causes."""
    found: dict[str, dict[str, float]] = {cause: {} for cause in offsets.CAUSES}
    bursts = [case for case in cases if case.shape.situation == "burst" and case.group != FITTED_GROUP]
    if bursts:
        fitted = _burst_causes(plain, bursts)
        for level in ({"burst": fitted.base}, *fitted.deviations.values()):
            for key, values in level.items():
                for cause, value in zip(offsets.CAUSES, values, strict=True):
                    found[cause][key] = round(float(value), 6)
    scales: dict[str, list[float]] = {}
    steady = [c for c in cases if c.shape.situation == "steady" and not fitted_on(plain, c.point, c.shape)]
    said = _plain_predictor(plain).predict([case.point for case in steady], [case.shape for case in steady])
    for case, prediction in zip(steady, said, strict=True):
        logs = {one.metric: float(np.log(one.published / one.predicted)) for one in score(case, prediction)}
        longer = -logs["output_tok_s"] if "output_tok_s" in logs else logs.get("tpot_ms", logs.get("ttft_ms"))
        if longer is not None:
            scales.setdefault(offsets.cause_keys(case.point, "steady")[0], []).append(longer)
    for key, values in scales.items():
        for cause in offsets.CAUSES:
            found[cause][key] = round(offsets.scale(np.array(values)), 6)
    return found


def _burst_causes(plain: Calibration, bursts: Sequence[Case]) -> Fit:
    points, shapes = [case.point for case in bursts], [case.shape for case in bursts]
    free = cal.free(plain.tpot, points)
    alone = [
        [simulated(*one) for one in zip(servers(points, shapes, free, unit), points, shapes, strict=True)]
        for unit in ALONE
    ]
    rows, slopes, measured = [], [], []
    for row, case in enumerate(bursts):
        ways = [outcomes[row] for outcomes in alone]
        last = int(np.argmax(sum(one.end_s for one in ways)))
        tokens = ways[0].output_tokens.sum()
        published_rate = case.published_output_tokens_per_s
        for known, seconds in (
            (case.published_ttft_s, [one.ttft_s.mean() for one in ways]),
            (case.published_tpot_s, [one.tpot_s.mean() for one in ways]),
            (published_rate and tokens * case.instances / published_rate, [one.end_s[last] for one in ways]),
        ):
            if known:
                rows.append(row)
                slopes.append(seconds)
                measured.append(known)
    slope = np.array(slopes).T
    keys = [offsets.cause_keys(bursts[row].point, "burst")[1:] for row in rows]
    shared = [
        Level(str(number), tuple(key[number] for key in keys), price)
        for number, price in enumerate(offsets.CAUSE_PRICES)
    ]
    start = np.zeros(len(ALONE))
    return fit(lambda factors: np.log(np.sum(slope * np.exp(factors), axis=0)), np.array(measured), start, shared)


def _plain_predictor(plain: Calibration) -> Predictor:
    return Predictor(msgspec.structs.replace(plain, spread=NO_SPREAD))


def learned(plain: Calibration, cases: Sequence[Case]) -> dict[str, dict[str, float]]:
    """Factors on metrics: of open loads and offline benchmarks; and on the rate that times under a steady load leave
    over in the sample."""
    loose = [case for case in cases if case.shape.situation in ("open", "offline")]
    found = {metric: _metric_learned(plain, loose, column) for metric, column in TIMES.items()}
    # A rate follows from the times, whose factors are known by now: only what they leave over is its own.
    timed = msgspec.structs.replace(plain, offsets=plain.offsets | found)
    steady = [case for case in cases if case.group == FITTED_GROUP and case.shape.situation == "steady"]
    rated = [case for case in loose if case.shape.rate_per_s is None]
    return found | {"output_rate": _metric_learned(timed, [*rated, *steady], "output_tok_s")}


def _metric_learned(plain: Calibration, cases: Sequence[Case], column: str) -> dict[str, float]:
    said = _plain_predictor(plain).predict([case.point for case in cases], [case.shape for case in cases])
    rows = [
        (np.log(one.published / one.predicted), offsets.keys(case.point, case.shape.situation))
        for case, prediction in zip(cases, said, strict=True)
        for one in score(case, prediction)
        if one.metric == column
    ]
    return offsets.learn(np.array([row[0] for row in rows]), [row[1] for row in rows]) if rows else {}


Fold = Callable[[Case], Any]


def left_out(cases: Sequence[Case], fold: Fold) -> list[tuple[Case, ScoredRow]]:
    """Every row predicted by a fit that had not seen its fold."""
    keys = sorted({fold(case) for case in cases}, key=repr)
    parts = [
        ([case for case in cases if fold(case) != key], [case for case in cases if fold(case) == key]) for key in keys
    ]
    with ProcessPoolExecutor(PROCESSES) as pool:
        return [row for rows in pool.map(_predicted, *zip(*parts, strict=True)) for row in rows]


def _predicted(train: Sequence[Case], test: Sequence[Case]) -> list[tuple[Case, ScoredRow]]:
    predictor = Predictor(msgspec.structs.replace(calibrate(train), spread=NO_SPREAD))
    said = predictor.predict([case.point for case in test], [case.shape for case in test])
    return [(case, one) for case, prediction in zip(test, said, strict=True) for one in score(case, prediction)]


def both_left_out(sample: Sequence[Case]) -> list[dict[str, object]]:
    """TPOT and TTFT of rows whose chip and whose build of model are both unknown to the fit."""
    cells = sorted({(by_chip(case), by_family(case)) for case in sample})
    parts = [
        (
            [case for case in sample if by_chip(case) != chip and by_family(case) != family],
            [case for case in sample if (by_chip(case), by_family(case)) == (chip, family)],
        )
        for chip, family in cells
    ]
    with ProcessPoolExecutor(PROCESSES) as pool:
        rows = [row for found in pool.map(_predicted, *zip(*parts, strict=True)) for row in found]
    return summary({"chip and model left out": rows})[0]


def regret(rows: Sequence[tuple[Case, ScoredRow]]) -> dict[str, float]:
    """Among measured ways (engine, cards) to bear one load on one chip: how much less a card gives in the one that the
    prediction prefers than in the best. Mean over loads with at least two ways."""
    loads: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for case, row in rows:
        if row.metric == "tpot_ms" and case.group == FITTED_GROUP:
            point = case.point
            key = (point.architecture.id, point.chip.id, point.precision.name, point.input_tokens, point.output_tokens)
            each = point.concurrency / point.cards
            loads.setdefault((*key, point.concurrency), []).append((each / row.predicted, each / row.published))
    several = [ways for ways in loads.values() if len(ways) > 1]
    lost = [1 - max(ways)[1] / max(measured for _, measured in ways) for ways in several]
    return {
        "loads": len(several),
        "mean": float(np.mean(lost)),
        "within_5_percent": float(np.mean(np.array(lost) <= 0.05)),
    }


def by_point(case: Case) -> int:
    """Repeats of one workload point stay in one fold."""
    point = case.point
    text = (point.architecture.id, point.input_tokens, point.output_tokens, point.concurrency, point.tensor_parallel)
    return zlib.crc32(repr(text).encode()) % FOLDS


def by_chip(case: Case) -> str:
    """The chip."""
    return case.point.chip.id


def by_family(case: Case) -> str:
    """Models of one family stay together, and so do families of one architecture."""
    build = cal.build_of(case.point.architecture)
    return SAME_ARCHITECTURE.get(build, build)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("silicon", type=Path)
    parser.add_argument("published", type=Path)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--both", action="store_true", help="also leave out chip and model together (takes longer)")
    arguments = parser.parse_args()
    sample, refused = cases_of(silicon_rows(arguments.silicon))
    given = [row for row in csv.DictReader(arguments.published.open()) if row["source_group"] != FITTED_GROUP]
    others, refused_others = cases_of(given)
    out = sum(refused.values()), sum(refused_others.values())
    print(f"{len(sample)} rows of the sample, {len(others)} others; refused: {out[0]}, {out[1]}")
    for reason, count in sorted({**refused, **refused_others}.items(), key=lambda item: -item[1])[:12]:
        print(f"  {count:4d} {reason}")
    everything = [*sample, *others]
    folds = {
        "folds by workload point": left_out(everything, by_point),
        "chip left out": left_out(everything, by_chip),
        "model left out": left_out(everything, by_family),
    }
    report, spread = summary(folds)
    report.append({"regret of the chosen configuration": regret(folds["folds by workload point"])})
    print(f"regret of the chosen configuration {report[-1]}")
    if arguments.both:
        report += both_left_out(sample)
    fitted = calibrate(everything)
    words = f"{len(sample)} measured and {len(others)} published rows"
    done = msgspec.structs.replace(fitted, version="1", fitted_on=words, spread=spread)
    OUT.write_bytes(msgspec.json.format(msgspec.json.encode(done), indent=1) + b"\n")
    if arguments.report:
        arguments.report.write_text(json.dumps(report, indent=1))


def summary(
    folds: dict[str, list[tuple[Case, ScoredRow]]],
) -> tuple[list[dict[str, object]], dict[str, dict[str, Ratio]]]:
    """Errors by fold kind and group, printed; and the spread by metric and basis."""
    report: list[dict[str, object]] = []
    ratios: dict[str, dict[str, list[float]]] = {}
    names = {"ttft_ms": "ttft", "tpot_ms": "tpot", "output_tok_s": "output_rate"}
    for kind, rows in folds.items():
        groups: dict[tuple[str, str], list[float]] = {}
        for case, one in rows:
            groups.setdefault((case.group, one.metric), []).append(one.published / one.predicted)
            level = cal.spread_key(case.shape.situation, one.level)
            ratios.setdefault(names[one.metric], {}).setdefault(level, []).append(one.published / one.predicted)
        for (group, metric), found in sorted(groups.items()):
            error = float(np.median(np.abs(1 / np.array(found) - 1)))
            report.append({"folds": kind, "group": group, "metric": metric, "rows": len(found), "median_error": error})
            print(f"{kind:24s} {group:30s} {metric:13s} {len(found):5d} median error {error:6.3f}")
    spread = {
        metric: {
            level: Ratio(*(round(float(np.quantile(found, at)), 4) for at in (LOW, HIGH)), len(found))
            for level, found in of.items()
        }
        for metric, of in ratios.items()
    }
    return report, spread


if __name__ == "__main__":
    main()
