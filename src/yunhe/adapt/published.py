"""Rows of published results, read as points to predict; what a row does not say is inferred by stated rules or refused.

Columns: row_id, source_group, model, chip, chip_count, engine, precision, parallelism, isl, osl,
concurrency_or_batch, scenario, conditions, ttft_ms, tpot_ms, output_tok_s, quality_note.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from yunhe.adapt.features import features
from yunhe.adapt.memory import USABLE_SHARE, cards_min, sequences_max
from yunhe.adapt.points import Point
from yunhe.adapt.precision import PRECISIONS, Precision
from yunhe.adapt.predictor import Shape
from yunhe.adapt.published_load import drafted_tokens, shape_of, shows_command, situation_of, tokens_per_step
from yunhe.adapt.published_names import names
from yunhe.catalogue.architecture import Architecture
from yunhe.catalogue.chips import Chip
from yunhe.core.errors import YunheError

Row = Mapping[str, str]
#: Requests that one card of an offline benchmark runs at once, where memory allows.
_OFFLINE_SEQUENCES: Final = 1024
_SIZES: Final = {
    "tp": re.compile(r"(?:\btp[ =]?|--tensor-parallel-size[ =]|--tp(?:-size|_size)?[ =]|-tp )(\d+)", re.IGNORECASE),
    "dp": re.compile(r"(?:\bdp[ =]?|--data-parallel-size[ =]|--dp(?:-size|_size)?[ =]|-dp )(\d+)", re.IGNORECASE),
    "pp": re.compile(r"(?:\bpp[ =]?|--pipeline-parallel-size[ =]|--pp(?:-size|_size)?[ =]|-pp )(\d+)", re.IGNORECASE),
}
#: Of samples that count expert parallelism on top of the tensor or data parallel size.
_EXPERT_SIZES: Final = re.compile(r"moe_tp(\d+) moe_ep(\d+)")
#: By how much a cache in eight bits holds more.
_HALVED: Final = 2.0
_PER_SAMPLE: Final = re.compile(r"TOKENS_PER_SAMPLE: ([\d.]+)")
_KEPT: Final = re.compile(r"\(checkpoint (\w+)")
_PREFIX_HIT: Final = re.compile(r"prefix-hit (\d+)%")


class Case(Struct, frozen=True):
    """A row that can be predicted."""

    row_id: str
    group: str
    point: Point
    shape: Shape
    #: Instances side by side; the row's throughput is of all.
    instances: float
    published_ttft_s: float | None
    published_tpot_s: float | None
    published_output_tokens_per_s: float | None
    #: Metrics that the row gives but that cannot be, with the reason.
    doubts: tuple[str, ...] = ()


class Refused(Struct, frozen=True):
    """A row that cannot, and why."""

    row_id: str
    group: str
    reason: str


class _No(Exception):
    """Why a row is refused."""


def read(row: Row, architecture_of: Callable[[str], Architecture], chip_of: Callable[[str], Chip]) -> Case | Refused:
    """One row. The callables raise NotFound for names that no catalogue has."""
    row_id, group = row.get("row_id", "?"), row.get("source_group", "")
    try:
        return _case(row, row_id, group, architecture_of, chip_of)
    except _No as no:
        return Refused(row_id, group, str(no))
    except YunheError as error:
        return Refused(row_id, group, error.message)


def _case(
    row: Row,
    row_id: str,
    group: str,
    architecture_of: Callable[[str], Architecture],
    chip_of: Callable[[str], Chip],
) -> Case:
    said = " ".join(row.get(name, "") for name in ("parallelism", "conditions", "scenario"))
    if re.search(r"\bPD\b|disagg|[0-9]P[0-9]D|prefill per|decode per", said):
        raise _No("the row is of disaggregated serving and does not say how its cards were divided")
    architecture, chip = architecture_of(row["model"]), chip_of(row["chip"])
    engine = engine_of(row.get("engine", ""))
    precision = precision_of(row, architecture)
    inputs, outputs = _lengths(row)
    cards = int(_number(row.get("chip_count")) or 1)
    tp, dp, pp = _parallelism(row, said, cards, architecture, precision, chip)
    one = _EXPERT_SIZES.search(said) or shows_command(said)
    instances = 1.0 if one else max(1.0, cards / (tp * dp * pp))
    hit = _PREFIX_HIT.search(said)
    drafted = drafted_tokens(said)
    point = Point(
        architecture, chip, precision, engine, inputs, outputs, 1.0, tp, dp, pp,
        tokens_per_step=tokens_per_step(drafted),
        cached_tokens=inputs * int(hit[1]) / 100 if hit else 0.0,
        drafted_tokens=drafted,
    )  # fmt: skip
    point, shape = _loaded(row, said, point, instances)
    tpot = _milliseconds(row.get("tpot_ms"))
    doubt = _doubt(tpot, point)
    return Case(
        row_id=row_id,
        group=group,
        point=point,
        shape=shape,
        instances=instances,
        published_ttft_s=_milliseconds(row.get("ttft_ms")),
        published_tpot_s=None if doubt else tpot,
        published_output_tokens_per_s=_number(row.get("output_tok_s")),
        doubts=doubt,
    )


def _loaded(row: Row, said: str, point: Point, instances: float) -> tuple[Point, Shape]:
    """Of a saturating load, what runs at once is bounded by the engine and by memory."""
    shape = shape_of(said, point.engine, point.chip, point.input_tokens)
    limit = _number(row.get("concurrency_or_batch"))
    # Where requests are counted and no limit is given, nothing held them back.
    concurrency = limit or shape.requests
    if concurrency is None and not _number(row.get("output_tok_s")):
        raise _No("the row gives a time for each token but not how many requests ran at once")
    memory = _fitting(point)
    each = max(1.0, memory if concurrency is None else concurrency / instances)
    if not shows_command(said) and each <= _HALVED * memory:
        # Who ran so many on purpose kept the cache in fewer bits than we count.
        memory = max(memory, each)
    running = max(1.0, min(each, shape.slots, memory))
    loaded = msgspec.structs.replace(
        shape,
        rate_per_s=None if shape.rate_per_s is None else shape.rate_per_s / instances,
        in_flight=round(each) if each > running else None,
        slots=int(running) if each > running else shape.slots,
        situation=situation_of(limit, shape, each, running, shows_command(said)),
    )
    return msgspec.structs.replace(point, concurrency=running), loaded


def _doubt(tpot_s: float | None, point: Point) -> tuple[str, ...]:
    """A step reads what one token needs at least once, and yields each draft at best."""
    bandwidth = point.chip.memory_bandwidth_bytes_per_s
    if tpot_s is None or bandwidth is None:
        return ()
    f, precision = features(point.architecture), point.precision
    read = f.attention * precision.attention_bytes + (f.dense + f.shared) * precision.dense_bytes
    read += f.expert_layers * f.experts_used * f.expert * precision.expert_bytes
    least_s = read / (bandwidth.value * point.cards) / (1 + point.drafted_tokens)
    if tpot_s >= least_s:
        return ()
    return (
        f"tpot_ms: {tpot_s * 1000:g} is less than reading the weights of one token takes at the memory's full"
        f" bandwidth ({least_s * 1000:.2f}); the client that measured it did not see all tokens",
    )


def engine_of(text: str) -> str:
    """The engine's id."""
    for pattern, name in names().engines:
        if re.search(pattern, text, re.IGNORECASE):
            return name
    raise _No(f"no engine is known by {text!r}")


def precision_of(row: Row, architecture: Architecture) -> Precision:
    """As the row says, else as the names of model and files say, else as its maker publishes the weights."""
    texts = [
        row.get("precision", ""),
        row["model"],
        row.get("conditions", ""),
        " ".join(architecture.published_dtypes[:1]),
    ]
    for said in texts:
        if "UNSET" in said:
            continue
        # What is computed in sixteen bits may be kept in fewer: memory and bandwidth go by what is kept.
        kept = _KEPT.search(said)
        text = kept[1] if kept else said
        found = [
            (match.start(), number, name)
            for number, (pattern, name) in enumerate(names().precisions)
            if (match := re.search(pattern, text, re.IGNORECASE))
        ]
        if found:
            # What is named first; a mixture of formats is named as a whole.
            name = found[0][2] if found[0][1] == 0 else min(found)[2]
            return PRECISIONS[_as_published(name, architecture)]
    return PRECISIONS["bf16"]


def _as_published(name: str, architecture: Architecture) -> str:
    """Four-bit checkpoints of large mixtures of experts leave attention wide."""
    if architecture.experts is None:
        return "w4a8" if name == "w4a8-experts" else name
    if name == "fp4" and architecture.family.startswith("gpt-oss"):
        return "mxfp4-experts"
    wide = any(architecture.family.startswith(start) for start in names().attention_stays_wide)
    if name == "fp4" and wide:
        return "fp4-ffn"
    return "int4-experts" if name == "int4" else name


def _lengths(row: Row) -> tuple[float, float]:
    inputs, outputs = _number(row.get("isl")), _number(row.get("osl"))
    if inputs and outputs:
        return inputs, outputs
    for start, (known_in, known_out, _) in names().lengths.items():
        if row["model"].lower().startswith(start):
            sample = _PER_SAMPLE.search(row.get("quality_note", ""))
            return inputs or known_in, outputs or (float(sample[1]) if sample else known_out)
    raise _No("the row does not say how long prompts and answers are")


def _parallelism(
    row: Row, said: str, cards: int, architecture: Architecture, precision: Precision, chip: Chip
) -> tuple[int, int, int]:
    found = {
        name: pattern.search(row.get("parallelism", "")) or pattern.search(said) for name, pattern in _SIZES.items()
    }
    tp, dp, pp = (max(1, int(match[1])) if (match := found[name]) else 0 for name in ("tp", "dp", "pp"))
    attention_copies = "enable-dp-attention" in said
    if tp and dp and attention_copies and tp >= dp:
        # Attention is copied within the tensor-parallel group.
        tp //= dp
    experts = _EXPERT_SIZES.search(said)
    if experts and tp and dp:
        # Counted twice: m x m for m cards, or tensor and data parallel for the same cards.
        both = int(experts[1]) if experts[1] == experts[2] else 1
        tp, dp = (both if both > 1 and size == both * both else size for size in (tp, dp))
        tp = 1 if tp == dp else tp
    if not tp:
        tp = cards_min(architecture, precision, chip, max(1, cards // max(1, dp * max(pp, 1))))
    return tp, dp or 1, pp or 1


def _fitting(point: Point) -> float:
    """Sequences that run at once, as far as memory allows."""
    known = names()
    # A cached prefix is kept once for all.
    held = point.input_tokens - point.cached_tokens + point.output_tokens * known.held_share.get(point.engine, 1.0)
    one = sequences_max(
        point.architecture,
        point.precision,
        point.chip,
        point.cards,
        held,
        tensor_parallel=point.tensor_parallel,
        data_parallel=point.data_parallel,
        usable_share=known.usable_share.get(point.engine, USABLE_SHARE),
    )
    if one < 1:
        raise _No("by our count the weights and one sequence do not fit into the memory of its cards")
    return min(float(_OFFLINE_SEQUENCES), one)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _milliseconds(text: str | None) -> float | None:
    value = _number(text)
    return value / 1000 if value else None
