"""Rows of published results, read as points to predict; what a row does not say is inferred by stated rules or refused.

Columns: row_id, source_group, model, chip, chip_count, engine, precision, parallelism, isl, osl,
concurrency_or_batch, scenario, conditions, ttft_ms, tpot_ms, output_tok_s, quality_note.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Final

import msgspec
from msgspec import Struct

from yunhe.adapt.memory import cards_min, sequences_max
from yunhe.adapt.offsets import Situation
from yunhe.adapt.points import Point
from yunhe.adapt.precision import PRECISIONS, Precision
from yunhe.adapt.predictor import CHUNK_TOKENS, Shape
from yunhe.catalogue.architecture import Architecture
from yunhe.catalogue.chips import Chip
from yunhe.core.errors import YunheError

Row = Mapping[str, str]
#: Share of drafted tokens that are taken, where the row does not say: makers report 0.6 to 0.9 for the first one.
_ACCEPTANCE: Final = 0.7
#: Requests that one card of an offline benchmark runs at once, where memory allows.
_OFFLINE_SEQUENCES: Final = 1024
_SIZES: Final = {
    "tp": re.compile(r"(?:\btp[ =]?|--tensor-parallel-size[ =]|--tp(?:-size|_size)?[ =]|-tp )(\d+)", re.IGNORECASE),
    "dp": re.compile(r"(?:\bdp[ =]?|--data-parallel-size[ =]|--dp(?:-size|_size)?[ =]|-dp )(\d+)", re.IGNORECASE),
    "pp": re.compile(r"(?:\bpp[ =]?|--pipeline-parallel-size[ =]|--pp(?:-size|_size)?[ =]|-pp )(\d+)", re.IGNORECASE),
}
#: Of samples that count expert parallelism on top of the tensor or data parallel size.
_EXPERT_SIZES: Final = re.compile(r"moe_tp(\d+) moe_ep(\d+)")
_REQUESTS: Final = re.compile(r"(?:requests|prompts)=(\d+)")
_DRAFTED: Final = re.compile(r"num_speculative_tokens\W+(\d+)|speculative-num-steps[ =](\d+)")
_SLOTS: Final = re.compile(r"--max-num-seqs[ =](\d+)|--max-running-requests[ =](\d+)|--max_batch_size[ =](\d+)")
_CHUNK: Final = re.compile(
    r"--max-num-batched-tokens[ =](\d+)|--chunked-prefill-size[ =](\d+)|--max_num_tokens[ =](\d+)"
)
_PER_SAMPLE: Final = re.compile(r"TOKENS_PER_SAMPLE: ([\d.]+)")
_PREFIX_HIT: Final = re.compile(r"prefix-hit (\d+)%")


class Names(Struct, frozen=True):
    """How results call engines and formats, and lengths of well-known benchmarks."""

    engines: list[tuple[str, str]]
    precisions: list[tuple[str, str]]
    attention_stays_wide: list[str]
    slots: dict[str, int]
    lengths: dict[str, tuple[float, float, str]]


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


class Refused(Struct, frozen=True):
    """A row that cannot, and why."""

    row_id: str
    group: str
    reason: str


class _No(Exception):
    """Why a row is refused."""


@lru_cache(maxsize=1)
def names() -> Names:
    """The package's table."""
    data = files("yunhe.adapt").joinpath("data", "published_names.json").read_bytes()
    return msgspec.json.decode(data, type=Names)


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
    instances = 1.0 if _EXPERT_SIZES.search(said) else max(1.0, cards / (tp * dp * pp))
    hit = _PREFIX_HIT.search(said)
    prompt = inputs * (1 - int(hit[1]) / 100) if hit else inputs
    concurrency = _number(row.get("concurrency_or_batch"))
    shape = _shape(said, engine)
    if concurrency is None:
        concurrency = _fitting(architecture, precision, chip, tp * dp * pp, inputs + outputs) * instances
    each = max(1.0, concurrency / instances)
    # Of a saturating load, what runs at once is bounded by the engine and by memory.
    memory = _fitting(architecture, precision, chip, tp * dp * pp, inputs + outputs)
    running = max(1.0, min(each, shape.slots, memory))
    return Case(
        row_id=row_id,
        group=group,
        point=Point(
            architecture, chip, precision, engine, max(1.0, prompt), outputs, running, tp, dp, pp, _speculation(said)
        ),
        shape=Shape(
            requests=shape.requests,
            in_flight=round(each) if each > running else None,
            slots=int(running) if each > running else shape.slots,
            chunk_tokens=shape.chunk_tokens,
            situation=_situation(row, shape, each, running),
        ),
        instances=instances,
        published_ttft_s=_milliseconds(row.get("ttft_ms")),
        published_tpot_s=_milliseconds(row.get("tpot_ms")),
        published_output_tokens_per_s=_number(row.get("output_tok_s")),
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
    for text in texts:
        if "UNSET" in text:
            continue
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


def _fitting(architecture: Architecture, precision: Precision, chip: Chip, cards: int, tokens: float) -> float:
    """Sequences of ``tokens`` that run at once, as far as memory allows."""
    fits = sequences_max(architecture, precision, chip, cards, tokens)
    if fits < 1:
        raise _No("by our count the weights and one sequence do not fit into the memory of its cards")
    return min(float(_OFFLINE_SEQUENCES), fits)


def _situation(row: Row, shape: Shape, sent: float, running: float) -> Situation:
    if not row.get("concurrency_or_batch"):
        return "offline"
    many = shape.requests is None or shape.requests >= 2 * sent
    return "steady" if many and sent <= running else "burst"


def _shape(said: str, engine: str) -> Shape:
    requests, slots, chunk = _REQUESTS.search(said), _first(_SLOTS, said), _first(_CHUNK, said)
    return Shape(int(requests[1]) if requests else None, slots or names().slots.get(engine, 256), chunk or CHUNK_TOKENS)


def _speculation(said: str) -> float:
    """Tokens of one step: 1 + a + a^2 ... for the drafted ones (Leviathan et al., ICML 2023)."""
    drafted = _first(_DRAFTED, said)
    if drafted is None:
        drafted = 1 if re.search(r"speculative=yes|speculative-algo|NEXTN|\bmtp\b", said, re.IGNORECASE) else 0
    return float(sum(_ACCEPTANCE**number for number in range(drafted + 1)))


def _first(pattern: re.Pattern[str], text: str) -> int | None:
    match = pattern.search(text)
    return next((int(group) for group in match.groups() if group), None) if match else None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _milliseconds(text: str | None) -> float | None:
    value = _number(text)
    return value / 1000 if value else None
