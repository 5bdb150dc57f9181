"""Signed recipes, and the keys that are believed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from yunhe.sdk.records import Record, Time
from yunhe.sdk.transport import Transport, segment


class Estimate(Record):
    """A number and the interval that it lies in; None where there were too few repeats for one."""

    value: float
    low: float | None
    high: float | None
    confidence: float | None


class Gain(Record):
    """The recipe over the baseline under one load."""

    load: str
    metric: str
    ratio: Estimate
    pairs: int


class Fidelity(Record):
    """How close the answers stay to the reference weights'."""

    verdict: str
    use_class: str
    kl_nats: Estimate
    top1_share: Estimate


class Recipe(Record):
    """How to run a model on a chip, with evidence, signed."""

    id: str
    model: str
    chip: str
    engine: str
    engine_version: str
    workload: str
    gains: list[Gain]
    fidelity: Fidelity
    made_by: str
    made_at: Time
    key_id: str
    origin: str
    created_at: Time
    revoked_at: Time | None
    revoked_why: str | None


class RecipeVerdict(Record):
    """Whether the recipe is believed; ``refusal`` names why not."""

    accepted: bool
    refusal: str | None
    reason: str
    next_step: str
    signed_by: str | None


class Place(Record):
    """Whether the recipe may be used on the cards of one chip of one node: applies, needs force or never."""

    centre: str
    node: str
    chip: str
    outcome: str
    reasons: list[str]


class RecipeDetail(Recipe):
    """A recipe with all that is in it; ``document`` is what was signed, parsed."""

    verdict: RecipeVerdict
    places: list[Place]
    document: dict[str, Any]


class Change(Record):
    """One field that differs: changed, added or removed."""

    path: str
    kind: str
    left: Any
    right: Any
    line: str


class RecipeDiff(Record):
    """How two recipes differ."""

    a: str
    b: str
    changes: list[Change]


class TrustedKey(Record):
    """A key whose recipes are believed for a time."""

    key_id: str
    name: str
    own: bool
    public_key: str
    valid_from: Time
    valid_until: Time | None
    revoked_at: Time | None
    revoked_why: str | None


class Recipes:
    """/recipes. ``recipe`` is a content id or its beginning (``rcp_`` and eight digits or more)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, model: str | None = None, chip: str | None = None, engine: str | None = None) -> Iterator[Recipe]:
        """Newest first; of one model, chip and engine. Raises ApiError."""
        return self._transport.pages(Recipe, "/recipes", {"model": model, "chip": chip, "engine": engine})

    def get(self, recipe: str) -> RecipeDetail:
        """One recipe with its evidence. Raises NotFound."""
        return self._transport.one(RecipeDetail, "GET", f"/recipes/{segment(recipe)}")

    def diff(self, a: str, b: str) -> RecipeDiff:
        """How two recipes differ. Raises NotFound."""
        return self._transport.one(RecipeDiff, "GET", "/recipes/diff", params={"a": a, "b": b})

    def envelope(self, recipe: str) -> bytes:
        """The signed recipe, byte for byte. Raises NotFound."""
        return self._transport.content(f"/recipes/{segment(recipe)}/envelope")

    def take_in(self, envelope: bytes) -> Recipe:
        """Keep a signed recipe of somebody who is trusted. Raises ApiError with the reason when it is refused."""
        return self._transport.one(Recipe, "POST", "/recipes/import", body=envelope)

    def revoke(self, recipe: str, why: str) -> Recipe:
        """Refuse it from now on. Raises ApiError."""
        return self._transport.one(Recipe, "POST", f"/recipes/{segment(recipe)}/revoke", body={"why": why})


class RecipeKeys:
    """/recipe-keys: the trust list."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[TrustedKey]:
        """This instance's own key first. Raises ApiError."""
        return self._transport.pages(TrustedKey, "/recipe-keys")

    def add(
        self,
        name: str,
        public_key: str,
        *,
        valid_from: datetime | None = None,
        valid_until: datetime | None = None,
    ) -> TrustedKey:
        """Believe what a key signs; ``public_key`` is 64 hexadecimal digits. Raises ApiError."""
        times = {"valid_from": valid_from, "valid_until": valid_until}
        body: dict[str, object] = {"name": name, "public_key": public_key}
        body |= {field: moment.isoformat() for field, moment in times.items() if moment is not None}
        return self._transport.one(TrustedKey, "POST", "/recipe-keys", body=body)

    def remove(self, key_id: str) -> None:
        """Believe it no longer. Raises NotFound."""
        self._transport.call("DELETE", f"/recipe-keys/{segment(key_id)}")

    def revoke(self, key_id: str, why: str) -> TrustedKey:
        """Refuse whatever it signed, also before. Raises NotFound."""
        return self._transport.one(TrustedKey, "POST", f"/recipe-keys/{segment(key_id)}/revoke", body={"why": why})
