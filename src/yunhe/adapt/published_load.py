"""The load that a row of published results describes: how many requests, how long, how soon, what runs at once."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from yunhe.adapt.offsets import Situation
from yunhe.adapt.predictor import CHUNK_TOKENS, SLOTS, Shape
from yunhe.adapt.published_names import names
from yunhe.adapt.queueing import Lengths
from yunhe.catalogue.chips import Chip

#: Share of drafted tokens that are taken, where the row does not say: makers report 0.6 to 0.9 for the first one.
_ACCEPTANCE: Final = 0.7
#: Share of a step that drafting one token takes: one layer of many, and its launches.
_DRAFT_SHARE: Final = 0.1
#: Drafts of a step where a row says only that there are some: what recipes of makers set most often.
_USUAL_DRAFTS: Final = 3
_REQUESTS: Final = re.compile(r"(?:requests|prompts)=(\d+)")
_DRAFTED: Final = re.compile(r"num_speculative_tokens\W+(\d+)|speculative-num-steps[ =](\d+)")
_SLOTS: Final = re.compile(r"--max-num-seqs[ =](\d+)|--max-running-requests[ =](\d+)|--max_batch_size[ =](\d+)")
_CHUNK: Final = re.compile(
    r"--max-num-batched-tokens[ =](\d+)|--chunked-prefill-size[ =](\d+)|--max_num_tokens[ =](\d+)"
)
_SPECULATING: Final = re.compile(r"speculative=yes|speculative[-_]|NEXTN|\bmtp\b", re.IGNORECASE)
#: Limits of requests in flight are small, or multiples of this, or powers of two.
_LIMITS_MAX: Final = 4
_LIMITS_STEP: Final = 10
#: How near to a round number a mean length is, where all requests are alike.
_ROUND: Final = 0.02
#: Requests a second at which a load is sent.
_RATE: Final = re.compile(r"\brate[= ](\d+(?:\.\d+)?)", re.IGNORECASE)


def shows_command(said: str) -> bool:
    """A row that shows how its server was started is of one instance, with what that engine starts with."""
    return re.search(names().commands, said) is not None


def situation_of(limit: float | None, shape: Shape, sent: float, running: float, command: bool) -> Situation:
    """``limit``: of requests in flight, as the row gives it; ``sent``: for one instance."""
    if limit is None and shape.requests is None:
        return "offline"
    many = shape.requests is None or shape.requests >= 2 * sent or sent <= 1
    if not many or sent > running:
        return "burst"
    # Who sets a limit sets a round one; what a load generator reports beside a command else is the most it saw.
    seen = command and shape.requests is not None and sent > _LIMITS_MAX and sent % _LIMITS_STEP > 0
    return "open" if seen and not math.log2(sent).is_integer() else "steady"


def shape_of(said: str, engine: str, chip: Chip, inputs: float) -> Shape:
    """What conditions say of engine and load, for prompts of ``inputs`` tokens."""
    requests, slots, chunk = _REQUESTS.search(said), _first(_SLOTS, said), _first(_CHUNK, said)
    if slots is None:
        # Who shows no command has set up the engine for the load.
        slots = _default_slots(said, engine, chip) if shows_command(said) else SLOTS
    if chunk is None:
        chunk = _by_size(chip, engine, names().chunk_tokens, names().large.chunk_tokens) or CHUNK_TOKENS
    rate = _RATE.search(said)
    return Shape(
        requests=int(requests[1]) if requests else None,
        slots=slots,
        chunk_tokens=chunk,
        lengths=_drawn(said, inputs),
        rate_per_s=float(rate[1]) if rate and float(rate[1]) > 0 else None,
    )


def _default_slots(said: str, engine: str, chip: Chip) -> int:
    if _SPECULATING.search(said) and engine in names().slots_speculating:
        return names().slots_speculating[engine]
    return _by_size(chip, engine, names().slots, names().large.slots) or SLOTS


def _by_size(chip: Chip, engine: str, of: Mapping[str, int], of_large: Mapping[str, int]) -> int | None:
    large = names().large
    memory = chip.memory_bytes
    roomy = memory is not None and memory.value >= large.memory_bytes and not chip.id.startswith(tuple(large.but_for))
    return of_large.get(engine, of.get(engine)) if roomy else of.get(engine)


def _drawn(said: str, inputs: float) -> Lengths:
    """Results of load generators give the mean of what was sent: near a round number, all were so long."""
    if not shows_command(said):
        return "uniform"
    thousands = abs(inputs / 1000 - round(inputs / 1000)) * 1000
    doubled = abs(inputs - 2 ** round(math.log2(max(inputs, 1.0))))
    return "fixed" if min(thousands, doubled) <= _ROUND * inputs else "natural"


def drafted_tokens(said: str) -> float:
    """Tokens that are drafted for each step."""
    drafted = _first(_DRAFTED, said)
    return float((_USUAL_DRAFTS if _SPECULATING.search(said) else 0) if drafted is None else drafted)


def tokens_per_step(drafted: float) -> float:
    """Tokens for the time of one step: 1 + a + a^2 ... for the drafted ones (Leviathan et al., ICML 2023), which take
    time to draft."""
    tokens = sum(_ACCEPTANCE**number for number in range(int(drafted) + 1))
    return max(1.0, tokens / (1 + _DRAFT_SHARE * drafted))


def _first(pattern: re.Pattern[str], text: str) -> int | None:
    match = pattern.search(text)
    return next((int(group) for group in match.groups() if group), None) if match else None
