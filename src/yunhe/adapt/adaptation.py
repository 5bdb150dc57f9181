"""An adaptation: what is asked for, what a centre is told to do, what it reports, and the journal that it keeps.

The journal is the truth. A tuner appends an entry when something has ended, never before; the search's own events
(``trials``) are among them, and those that confirm the choice under every load of the workload follow.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from yunhe.adapt.fidelity_gate import UseClass
from yunhe.adapt.recipe_evidence import FidelityPart
from yunhe.adapt.samples import Sample, Slo
from yunhe.adapt.trials import DECODE_HEAVY, PREFILL_HEAVY, Crashed, Event, Gated, Objective, Resumed, Windowed
from yunhe.catalogue.model import Model, Recipe, SettingValue
from yunhe.core.errors import InvalidRequest

Tokens = Annotated[int, Meta(ge=1, le=4_194_304)]
#: ``waiting``: the centre has not taken it up yet. The last three are final.
Phase = Literal["waiting", "starting", "searching", "confirming", "finished", "failed", "cancelled"]
FINAL_PHASES: Final = frozenset({"finished", "failed", "cancelled"})


class RequestShape(Struct, frozen=True, forbid_unknown_fields=True):
    """Requests of one length, and their share among all."""

    input_tokens: Tokens
    output_tokens: Tokens
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0


class Workload(Struct, frozen=True, forbid_unknown_fields=True):
    """What a candidate is loaded with. The search compares by the first concurrency; the choice is confirmed by all."""

    name: Annotated[str, Meta(min_length=1, max_length=60)]
    requests: Annotated[tuple[RequestShape, ...], Meta(min_length=1, max_length=8)]
    #: Requests in flight, closed loop.
    concurrencies: Annotated[tuple[Annotated[int, Meta(ge=1, le=1024)], ...], Meta(min_length=1, max_length=6)]
    #: Share of the measured closed-loop rate that arrives as a Poisson process in the open-loop confirmation; 0: none.
    open_loop_share: Annotated[float, Meta(ge=0, le=1)] = 0.7
    slo: Slo = Slo()


#: Lengths as published mixes have them: chat is about 1:1, summaries and retrieval are long in and short out.
WORKLOADS: Final[dict[str, Workload]] = {
    "chat": Workload("chat", (RequestShape(64, 96, 0.5), RequestShape(160, 64, 0.5)), (8, 1)),
    "decode": Workload("decode", (RequestShape(32, 128),), (8, 1)),
    "prefill": Workload("prefill", (RequestShape(896, 8),), (8, 1)),
}
#: What is maximised by each of those; a workload of a caller's own is judged as chat is.
OBJECTIVES: Final[dict[str, Objective]] = {"prefill": PREFILL_HEAVY}


class EngineSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One candidate as somebody names it."""

    engine: str
    settings: dict[str, SettingValue]


class AdaptationSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody asks for."""

    model: str
    workload: Workload = WORKLOADS["decode"]
    use_class: UseClass = "chat"
    #: Bound of the whole, fidelity and confirmation included.
    duration_s: Annotated[float, Meta(ge=30, le=7 * 86_400)] = 840.0
    trials: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    #: Engines to search; empty: all that the centre has for the model.
    engines: tuple[str, ...] = ()
    seed: Annotated[int, Meta(ge=0, le=2**31)] = 1
    #: No search: this candidate alone is judged and measured beside the baseline, as when a recipe is verified.
    only: EngineSettings | None = None

    def objective(self) -> Objective:
        """What is maximised and guarded."""
        return replace(OBJECTIVES.get(self.workload.name, DECODE_HEAVY), slo=self.workload.slo)


class TuningOrder(Struct, frozen=True):
    """What control desires of a centre's agent; complete, so that repeating it changes nothing."""

    adaptation_id: str
    spec: AdaptationSpec
    model: Model
    #: Uids of the cards to measure on.
    cards: tuple[str, ...]
    #: What the gain is over: how the model is served there now, or would be by default.
    baseline: Recipe
    #: False: stop it, keep what was measured.
    run: bool = True
    #: Journal entries that control has stored; the agent reports those after them.
    entries_known: int = 0


class TuningReport(Struct, frozen=True):
    """What an agent says of an order."""

    adaptation_id: str
    phase: Phase
    #: In words for people: what is under way, or why it ended.
    activity: str
    #: Number of the first entry in ``entries``.
    entries_from: int = 0
    #: JSON texts of ``Entry``.
    entries: tuple[str, ...] = ()
    #: Seconds used of the budget, without the time between a tuner's death and its resumption.
    used_s: float = 0.0


class Confirmed(Struct, frozen=True, tag="confirmed"):
    """One window of the chosen candidate or the baseline under one load of the workload, taken by turns."""

    candidate: str
    round: int
    #: Requests in flight, or (open loop) requests a second; exactly one is given.
    concurrency: int | None
    requests_per_s: float | None
    sample: Sample
    #: Why it does not count; empty when it does.
    reasons: tuple[str, ...]
    at_s: float


class Judged(Struct, frozen=True, tag="judged"):
    """The fidelity evidence of all candidates with these numerics."""

    numerics: str
    evidence: FidelityPart
    at_s: float


class Noted(Struct, frozen=True, tag="noted"):
    """Facts of a candidate that its launch told: what the recipe's engine part is made of."""

    candidate: str
    argv: tuple[str, ...]
    env: dict[str, str]
    build_version: str
    build_digest: str
    at_s: float


class Ended(Struct, frozen=True, tag="ended"):
    """The last entry: what came of it."""

    phase: Literal["finished", "failed", "cancelled"]
    #: Id of the chosen candidate; None: nothing was shown to be better (or nothing could be measured).
    chosen: str | None
    reason: str
    #: The recipe's document (``recipe_document.Recipe``), unsigned; None without a choice.
    recipe: Any = None
    at_s: float = 0.0


Entry = Event | Confirmed | Judged | Noted | Ended
_DECODER: Final[msgspec.json.Decoder[Entry]] = msgspec.json.Decoder(Entry)


def entry_text(entry: Entry) -> str:
    """As a line of a journal."""
    return msgspec.json.encode(entry).decode()


def read_entry(text: str) -> Entry:
    """An entry of a journal's line. Raises InvalidRequest for anything else."""
    try:
        return _DECODER.decode(text)
    except msgspec.MsgspecError as error:
        raise InvalidRequest(
            f"a journal's line cannot be read: {error}", next_step="Start the adaptation anew."
        ) from None


def search_events(entries: Iterable[Entry]) -> list[Event]:
    """Those that the search is a function of."""
    return [entry for entry in entries if not isinstance(entry, Confirmed | Judged | Noted | Ended)]


def trial_count(entries: Iterable[Entry]) -> int:
    """Trials that have ended."""
    return sum(isinstance(entry, Windowed | Gated | Crashed) for entry in entries)


def resumptions(entries: Iterable[Entry]) -> int:
    """How often a tuner took over from a dead one."""
    return sum(isinstance(entry, Resumed) for entry in entries)
