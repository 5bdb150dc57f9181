"""Adaptations and their journals."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import msgspec
from pydantic import Field

from yunhe.adapt import adaptation as records
from yunhe.adapt.adaptation import WORKLOADS, AdaptationSpec
from yunhe.adapt.fidelity_gate import UseClass
from yunhe.api.schemas.deployments import RecipeRef, Settings, SettingValue
from yunhe.api.schemas.fields import Input, ModelName, Output, Reference, Slug, Time
from yunhe.catalogue.model import ANY
from yunhe.control.adaptations import AdaptationAsk, AdaptationView, JournalPage
from yunhe.core.errors import InvalidRequest

Phase = Literal["waiting", "starting", "searching", "confirming", "finished", "failed", "cancelled"]
WorkloadName = Literal["chat", "decode", "prefill"]
Tokens = Annotated[int, Field(strict=True, ge=1, le=4_194_304)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class RequestShape(Output):
    """Requests of one length, and their share among all."""

    input_tokens: int
    output_tokens: int
    share: float


class Objectives(Output):
    """What a request must keep to count as good; null: no bound."""

    ttft_s: float | None
    tpot_s: float | None


class Workload(Output):
    """What candidates are loaded with."""

    name: str
    requests: list[RequestShape]
    concurrencies: list[int]
    open_loop_share: float
    slo: Objectives


class EngineSettings(Output):
    """One candidate as somebody names it."""

    engine: str
    settings: dict[str, SettingValue]


class Spec(Output):
    """What was asked for."""

    model: str
    workload: Workload
    use_class: UseClass
    duration_s: float
    trials: int | None
    engines: list[str] = Field(description="Engines to search; empty: all that the centre has.")
    only: EngineSettings | None = Field(description="The one candidate that is measured, without a search.")
    seed: int


class Adaptation(Output):
    """The search for the best way to run a model on a centre's cards."""

    id: str
    project_id: str | None
    model: str
    centre: str
    chip: str
    cards: list[str]
    baseline: RecipeRef = Field(description="What a gain is over.")
    baseline_engine: str
    state: Phase
    state_since: Time
    activity: str = Field(description="What is under way, what it waits for, or why it ended.")
    used_s: float = Field(description="Of spec.duration_s.")
    entries: int = Field(description="Of the journal, stored so far.")
    spec: Spec
    cancel_asked: bool
    recipe_id: str | None = Field(description="Of the signed recipe that came of it.")
    created_at: Time
    finished_at: Time | None

    @classmethod
    def of_view(cls, view: AdaptationView) -> Self:
        """The shape of an adaptation."""
        one, given = view.adaptation, view.adaptation.assignment
        plain = (
            "id", "project_id", "state", "state_since", "used_s", "cancel_asked", "recipe_id", "created_at",
            "finished_at",
        )  # fmt: skip
        return cls.model_validate(
            {name: getattr(one, name) for name in plain}
            | {
                "model": one.spec.model,
                "centre": view.centre,
                "chip": given.chip,
                "cards": given.cards,
                "baseline": RecipeRef.of(given.baseline),
                "baseline_engine": given.baseline.engine,
                "activity": view.activity,
                "entries": view.entries,
                "spec": Spec.of(one.spec),
            }
        )


class JournalEntry(Output):
    """One line of a journal."""

    number: int
    at: Time
    type: str = Field(description="begun, windowed, gated, crashed, resumed, noted, judged, confirmed, ended ...")
    entry: dict[str, Any] = Field(description="As the centre wrote it.")


class Journal(Output):
    """A part of an adaptation's journal."""

    data: list[JournalEntry]
    next: int = Field(description="Send it as `since` for what follows.")
    ended: bool = Field(description="Nothing will follow.")

    @classmethod
    def of_page(cls, page: JournalPage) -> Self:
        """The shape of some entries."""
        entries = []
        for one in page.entries:
            document = msgspec.json.decode(one.document)
            entries.append(JournalEntry(number=one.number, at=one.at, type=document["type"], entry=document))
        return cls(data=entries, next=page.next, ended=page.ended)


class NewRequestShape(Input):
    """Requests of one length."""

    input_tokens: Tokens
    output_tokens: Tokens
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


class NewObjectives(Input):
    """What a request must keep to count as good."""

    ttft_s: Seconds | None = None
    tpot_s: Seconds | None = None


class NewWorkload(Input):
    """A workload of the caller's own; the search compares by the first concurrency."""

    name: Slug = "own"
    requests: Annotated[list[NewRequestShape], Field(min_length=1, max_length=8)]
    concurrencies: Annotated[
        list[Annotated[int, Field(strict=True, ge=1, le=1024)]], Field(min_length=1, max_length=6)
    ] = Field(default_factory=lambda: [8, 1])
    open_loop_share: Annotated[float, Field(ge=0, le=1)] = 0.7
    slo: NewObjectives = NewObjectives()


class NewEngineSettings(Input):
    """One candidate."""

    engine: Slug
    settings: Annotated[Settings, Field(default_factory=dict)]


class NewAdaptation(Input):
    """What to adapt, where, for what."""

    model: ModelName
    centre: Reference
    chip: Annotated[Slug | None, Field(description="Of the cards; null: the broker chooses.")] = None
    workload: Annotated[
        WorkloadName | NewWorkload, Field(description="A known one by its name, or one of your own.")
    ] = "decode"
    use_class: UseClass = "chat"
    duration_s: Annotated[float, Field(ge=30, le=7 * 86_400, description="Of the whole.")] = 840.0
    trials: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None
    engines: Annotated[list[Slug], Field(max_length=16, default_factory=list)]
    only: NewEngineSettings | None = None
    seed: Annotated[int, Field(strict=True, ge=0, le=2**31)] = 1

    def ask(self) -> AdaptationAsk:
        """The wish as the service takes it. Raises InvalidRequest."""
        plain = self.model_dump(exclude={"centre", "chip", "workload"})
        try:
            spec = msgspec.convert(plain | {"workload": self._workload()}, AdaptationSpec)
        except msgspec.ValidationError as error:
            raise InvalidRequest(str(error), fields=[f"body: {error}"]) from None
        return AdaptationAsk(spec, self.centre, self.chip or ANY)

    def _workload(self) -> records.Workload:
        if isinstance(self.workload, str):
            return WORKLOADS[self.workload]
        return msgspec.convert(self.workload.model_dump(), records.Workload)
