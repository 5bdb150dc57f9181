"""Adaptations: models fitted to the cards of a centre."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from yunhe.sdk.deployments import RecipeRef, SettingValue
from yunhe.sdk.records import Record, Time
from yunhe.sdk.transport import Transport, segment

#: Nothing follows these.
FINAL_STATES: Final = frozenset({"finished", "failed", "cancelled"})


class RequestShape(Record):
    """Requests of one length, and their share among all."""

    input_tokens: int
    output_tokens: int
    share: float


class Objectives(Record):
    """What a request must keep to count as good; None: no bound."""

    ttft_s: float | None
    tpot_s: float | None


class Workload(Record):
    """What candidates are loaded with."""

    name: str
    requests: list[RequestShape]
    concurrencies: list[int]
    open_loop_share: float
    slo: Objectives


class EngineSettings(Record):
    """One candidate as somebody names it."""

    engine: str
    settings: dict[str, SettingValue]


class Spec(Record):
    """What was asked for."""

    model: str
    workload: Workload
    use_class: str
    duration_s: float
    trials: int | None
    engines: list[str]
    only: EngineSettings | None
    seed: int


class Adaptation(Record):
    """The search for the best way to run a model on a centre's cards.

    ``state``: waiting, starting, searching, confirming, finished, failed or cancelled.
    """

    id: str
    project_id: str | None
    model: str
    centre: str
    chip: str
    cards: list[str]
    baseline: RecipeRef
    baseline_engine: str
    state: str
    state_since: Time
    activity: str
    used_s: float
    entries: int
    spec: Spec
    cancel_asked: bool
    recipe_id: str | None
    created_at: Time
    finished_at: Time | None

    @property
    def ended(self) -> bool:
        """Whether nothing will follow."""
        return self.state in FINAL_STATES


class JournalEntry(Record):
    """One line of a journal; ``entry`` is the document as the centre wrote it, ``type`` its kind."""

    number: int
    at: Time
    type: str
    entry: dict[str, Any]


class Journal(Record):
    """A part of a journal; ``next`` is where to go on."""

    data: list[JournalEntry]
    next: int
    ended: bool


class Adaptations:
    """/adaptations."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        model: str,
        centre: str,
        *,
        chip: str | None = None,
        workload: str | Mapping[str, Any] | None = None,
        use_class: str | None = None,
        duration_s: float | None = None,
        trials: int | None = None,
        engines: Sequence[str] = (),
        only: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> Adaptation:
        """Have a centre (id or name) find the best way to run a model; None leaves a choice to the instance.

        ``workload``: chat, decode, prefill, or a document with requests and concurrencies; ``only``: engine and
        settings of the one candidate to measure, without a search. Raises ApiError.
        """
        optional: dict[str, object] = {
            "chip": chip,
            "workload": dict(workload) if isinstance(workload, Mapping) else workload,
            "use_class": use_class,
            "duration_s": duration_s,
            "trials": trials,
            "engines": list(engines) or None,
            "only": None if only is None else dict(only),
            "seed": seed,
        }
        body = {"model": model, "centre": centre} | {name: one for name, one in optional.items() if one is not None}
        return self._transport.one(Adaptation, "POST", "/adaptations", body=body)

    def get(self, adaptation: str) -> Adaptation:
        """One adaptation. Raises NotFound."""
        return self._transport.one(Adaptation, "GET", f"/adaptations/{segment(adaptation)}")

    def list(self, *, model: str | None = None, centre: str | None = None) -> Iterator[Adaptation]:
        """Newest first; of one model and one centre. Raises ApiError."""
        return self._transport.pages(Adaptation, "/adaptations", {"model": model, "centre": centre})

    def entries(self, adaptation: str, since: int = 0, limit: int = 100) -> Journal:
        """The journal from an entry's number on; ask again from ``next`` to follow it. Raises NotFound."""
        path = f"/adaptations/{segment(adaptation)}/entries"
        return self._transport.one(Journal, "GET", path, params={"since": since, "limit": limit})

    def journal(self, adaptation: str) -> Iterator[JournalEntry]:
        """All entries that are stored now. Raises NotFound."""
        since = 0
        while True:
            page = self.entries(adaptation, since, 500)
            yield from page.data
            if page.next == since:
                return
            since = page.next

    def view(self, adaptation: str) -> dict[str, Any]:
        """Everything that is known by now, summed up: candidates, frontier, loads, fidelity, findings, log.

        Raises NotFound.
        """
        found: dict[str, Any] = self._transport.call("GET", f"/adaptations/{segment(adaptation)}/view")
        return found

    def report(self, adaptation: str, language: str = "en") -> bytes:
        """The same as one self-contained HTML page. Raises NotFound."""
        return self._transport.content(f"/adaptations/{segment(adaptation)}/report?language={language}")

    def cancel(self, adaptation: str) -> Adaptation:
        """Stop it and keep what was measured. Raises ApiError when it has ended."""
        return self._transport.one(Adaptation, "POST", f"/adaptations/{segment(adaptation)}/cancel")
