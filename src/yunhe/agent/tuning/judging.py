"""Judges candidates: the reference once, then each candidate's numerics against it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, Protocol, cast

from yunhe.adapt.adaptation import TuningOrder
from yunhe.adapt.candidates import Candidate
from yunhe.adapt.fidelity import InvalidEvidence
from yunhe.adapt.fidelity_gate import GATES
from yunhe.adapt.proposal import SLOT_SETTINGS
from yunhe.adapt.recipe_evidence import FidelityPart, FidelityReference
from yunhe.agent import weights
from yunhe.agent.tuning.fidelity.evidence import measure, record_reference
from yunhe.agent.tuning.fidelity.kept import EvidenceKey, load_evidence, save_evidence
from yunhe.agent.tuning.fidelity.records import ReferenceRecords
from yunhe.agent.tuning.fidelity.reference import reference_weights
from yunhe.agent.tuning.fidelity.server import MeasurementFailed, Server
from yunhe.agent.tuning.place import Place
from yunhe.agent.tuning.stage import CandidateFailed, Running
from yunhe.catalogue.model import Model, SettingValue, Weights
from yunhe.core.errors import InvalidRequest

REFERENCE: Final = "reference"
#: Measured: with 4 slots 30 places a second, with 12 about 100.
REFERENCE_SLOTS: Final = 12
#: Of one slot, tokens; the prompts of a measurement are shorter.
REFERENCE_CONTEXT: Final = 2048


class StartsReference(Protocol):
    """What a judge needs of the stage."""

    async def ready(self, candidate: Candidate, model: Model | None = None) -> Running:
        """As in Stage."""
        ...

    async def drop(self, candidate_id: str) -> None:
        """As in Stage."""
        ...

    def failure(self, candidate: Candidate) -> CandidateFailed | None:
        """As in Stage."""
        ...


class Judge:
    """Measures fidelity for one adaptation. Reference weights and records are shared by all of this centre."""

    def __init__(
        self,
        stage: StartsReference,
        order: TuningOrder,
        place: Place,
        directory: Path,
        verified_weights: Path,
        tell: Callable[[str], None] = lambda activity: None,
    ) -> None:
        self._stage, self._order, self._place, self._directory = stage, order, place, directory
        self._verified_weights = verified_weights
        #: Says what is under way, for people.
        self.tell = tell
        self._records: ReferenceRecords | None = None

    async def prepare(self) -> None:
        """Have the reference's answers, cached or asked for. Raises CandidateFailed, YunheError."""
        try:
            await self._reference()
        except MeasurementFailed as error:
            raise CandidateFailed("wrong_answer", error.message) from error

    async def judge(self, candidate: Candidate, running: Running, build_digest: str) -> FidelityPart:
        """Evidence and verdict of what runs, measured now or, of this very build and numerics, before.

        Raises CandidateFailed when it dies or speaks nonsense, YunheError.
        """
        reference = await self._reference()
        key = EvidenceKey(
            records=reference.key,
            build_digest=build_digest,
            numerics=candidate.numerics,
            gate=GATES[self._order.spec.use_class],
            model_sha256=self._order.model.weights.sha256 or "",
        )
        directory = self._directory / "evidence"
        # A server that was there already has no build that could be known again; and whoever verifies a recipe wants
        # it measured, not remembered.
        may_be_kept = running.pid is not None and self._order.spec.only is None
        known = await asyncio.to_thread(load_evidence, directory, key) if may_be_kept else None
        if known is not None:
            self.tell("takes the fidelity that was measured before")
            return known
        measured = await self._measure(candidate, running, reference)
        if may_be_kept:
            await asyncio.to_thread(save_evidence, directory, key, measured)
        return measured

    async def _measure(self, candidate: Candidate, running: Running, reference: ReferenceRecords) -> FidelityPart:
        server = self._server(running, candidate)
        try:
            return await measure(
                server, reference, self._order.spec.use_class, progress=self._progress("measures the fidelity")
            )
        except MeasurementFailed as error:
            raise self._stage.failure(candidate) or CandidateFailed("wrong_answer", error.message) from error
        except InvalidEvidence as error:
            raise CandidateFailed("wrong_answer", error.message) from error

    async def _reference(self) -> ReferenceRecords:
        """The reference's own answers; by the baseline's engine, which is not among what is tried."""
        if self._records is not None:
            return self._records
        model = self._order.model
        self.tell("writes the reference weights at 16 bit")
        source = weights.verified(model, self._verified_weights)
        made = await reference_weights(
            source, model.weights.sha256 or "", self._directory / "weights", progress=self._progress("writes them")
        )
        own = Weights(model.weights.format, made.digest, made.path.stat().st_size, f"file:{made.path}")
        candidate = Candidate(REFERENCE, self._order.baseline.engine, self._settings(), REFERENCE)
        running = await self._stage.ready(candidate, replace(model, weights=own, quantisation=made.precision.lower()))
        try:
            self._records = await record_reference(
                self._server(running, candidate),
                self._directory / "records",
                FidelityReference(name=model.name, digest=made.digest, precision=made.precision.lower()),
                f"{candidate.engine} {running.plan.upstream_model}",
                progress=self._progress("asks the reference"),
            )
        finally:
            await self._stage.drop(candidate.id)
        return self._records

    def _settings(self) -> dict[str, SettingValue]:
        """Of the reference: many slots, because one token at each is asked for, over and over."""
        engine = self._place.engines.get(self._order.baseline.engine)
        known = engine.settings(self._order.model, self._place.cards[0]).choices
        slots: dict[str, SettingValue] = {name: REFERENCE_SLOTS for name in SLOT_SETTINGS if name in known}
        return {**slots, "context_length": min(REFERENCE_CONTEXT, self._order.model.context_length)} if slots else {}

    def _server(self, running: Running, candidate: Candidate) -> Server:
        dialect = running.plan.logprobs
        if dialect not in ("stepwise", "whole_prompt"):
            raise InvalidRequest(
                f"{candidate.engine} tells no log-probabilities, so its fidelity cannot be measured.",
                next_step="Leave this engine out (--engine), or use one that does.",
            )
        context = int(candidate.settings.get("context_length", self._order.model.context_length))
        kind = cast(Literal["stepwise", "whole_prompt"], dialect)
        return Server(running.base_url, running.api_key, running.upstream_model, running.slots, context, kind)

    def _progress(self, what: str) -> Callable[[int, int], None]:
        """Told in tenths: each word wakes control."""
        return lambda done, total: self.tell(f"{what}: {10 * (10 * done // max(1, total))} %")
