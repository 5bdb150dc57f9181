"""Signed recipes: kept as they were signed, compared, taken in from others, revoked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from yunhe.adapt import recipe_diff, signing
from yunhe.adapt.recipe_diff import Change
from yunhe.adapt.recipe_document import BadRecipe, Recipe
from yunhe.adapt.recipe_fields import EngineBuild
from yunhe.adapt.recipe_filling import fingerprint
from yunhe.adapt.signing import Envelope, Verdict
from yunhe.broker.place import CentreSupply
from yunhe.catalogue.model import Model
from yunhe.control.effects import Effects
from yunhe.control.page import Page, page_of
from yunhe.control.recipe_keys import own_key, trust_list
from yunhe.control.state import ControlState
from yunhe.control.supply import read_supply
from yunhe.core.errors import Conflict, InvalidRequest, NotFound
from yunhe.pool.model import Card
from yunhe.store import recipes
from yunhe.store.database import Tx
from yunhe.store.recipes import KeptRecipe, Origin

#: Newest recipes of a chip that are looked through for one that matches.
MATCHES_MAX: Final = 500
#: A shorter one could mean another recipe tomorrow.
_BEGINNING: Final = re.compile(r"rcp_[0-9a-f]{8,64}")
_LIST: Final = "List recipes: yunhe recipe list."


class RecipeRefused(Conflict):
    """The signed recipe is not believed."""

    code = "recipe_refused"


@dataclass(frozen=True, slots=True)
class RecipeView:
    """A kept recipe and what is in it."""

    kept: KeptRecipe
    envelope: Envelope

    @property
    def document(self) -> Recipe:
        """The recipe itself."""
        return self.envelope.recipe


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a recipe may be used on the cards of one chip of one node."""

    centre: str
    node: str
    chip: str
    verdict: recipe_diff.Verdict


@dataclass(frozen=True, slots=True)
class CheckedRecipe:
    """A recipe, whether it is believed now, and where it may be used."""

    view: RecipeView
    verdict: Verdict
    fits: tuple[Fit, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """A recipe that may be used for a model on certain cards, and what is different there."""

    view: RecipeView
    verdict: recipe_diff.Verdict


class Recipes:
    """All recipes of this instance; who may do what is the caller's to check."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    async def list(
        self, limit: int, after: str | None, *, model: str | None = None, chip: str | None = None,
        engine: str | None = None,
    ) -> Page[RecipeView]:  # fmt: skip
        """Newest first; of one model, chip, engine when given."""
        position = None if after is None else _position(after)
        async with self._state.db.read() as tx:
            found = await recipes.list_recipes(tx, limit + 1, position, model=model, chip=chip, engine=engine)
        return page_of([_view(one) for one in found], limit, lambda view: f"{view.kept.created_at!r}:{view.kept.id}")

    async def get(self, ref: str) -> CheckedRecipe:
        """By id or its beginning. Raises NotFound, Conflict when several begin so."""
        now = self._state.clock.unix_s()
        async with self._state.db.read() as tx:
            view = _view(await _find(tx, ref))
            verdict = signing.check(view.kept.envelope.encode(), await trust_list(tx, self._state), now)
            supply = await read_supply(tx, now, self._state.started_at)
        return CheckedRecipe(view, verdict, fits(view.document, supply))

    async def envelope(self, ref: str) -> tuple[str, bytes]:
        """Whole id, and the bytes exactly as they were signed. Raises as ``get``."""
        async with self._state.db.read() as tx:
            found = await _find(tx, ref)
        return found.id, found.envelope.encode()

    async def believed(self, ref: str) -> Envelope:
        """The envelope of one that may be used now. Raises as ``get``, RecipeRefused with the reason."""
        async with self._state.db.read() as tx:
            found = await _find(tx, ref)
            return await _checked(tx, self._state, found.envelope.encode())

    async def diff(self, left: str, right: str) -> tuple[str, str, tuple[Change, ...]]:
        """Both whole ids, and every field that differs. Raises as ``get``."""
        async with self._state.db.read() as tx:
            a, b = _view(await _find(tx, left)), _view(await _find(tx, right))
        return a.kept.id, b.kept.id, recipe_diff.diff(a.document, b.document)

    async def take_in(self, data: bytes) -> RecipeView:
        """Keep somebody else's signed recipe; one of this content that is kept already stays as it is.

        Raises BadRecipe when it cannot be read, RecipeRefused when it is not believed.
        """
        now = self._state.clock.unix_s()
        effects = Effects(now)
        async with self._state.db.write() as tx:
            envelope = await _checked(tx, self._state, data)
            kept = _kept(envelope, data, "imported", now)
            if await recipes.add_recipe(tx, kept):
                words = f"of {kept.model} on {kept.chip} with {kept.engine}, signed by key {kept.key_id[:12]}"
                effects.event("recipe", kept.id, "recipe_imported", words)
                await effects.write(tx)
            return _view(await _find(tx, kept.id))

    async def revoke(self, ref: str, why: str) -> RecipeView:
        """Refuse it from now on, here and when it is imported again. Raises as ``get``, Conflict when it is already."""
        now = self._state.clock.unix_s()
        effects = Effects(now)
        async with self._state.db.write() as tx:
            found = await _find(tx, ref)
            if not await recipes.revoke_recipe(tx, found.id, now, why):
                raise Conflict(f"The recipe was revoked before: {found.revoked_why}", next_step=_LIST)
            effects.event("recipe", found.id, "recipe_revoked", why, "warning")
            await effects.write(tx)
            return _view(await _find(tx, found.id))

    async def matching(self, model: Model, cards: Sequence[Card]) -> tuple[Match, ...]:
        """Believed recipes that may be used for this model on these cards, perhaps with a person's word; newest first.

        Never one of other weights or of another chip.
        """
        now = self._state.clock.unix_s()
        found = []
        async with self._state.db.read() as tx:
            trust = await trust_list(tx, self._state)
            for kept in await recipes.list_recipes(tx, MATCHES_MAX, chip=cards[0].chip):
                if not signing.check(kept.envelope.encode(), trust, now).accepted:
                    continue
                view = _view(kept)
                # Which build runs is the centre's to say, once it is asked to start it.
                build = view.document.engine.build
                verdict = recipe_diff.applies(view.document, fingerprint(cards), model.weights.sha256 or "", build)
                if verdict.outcome != "never":
                    found.append(Match(view, verdict))
        return tuple(found)


def fits(document: Recipe, supply: Sequence[CentreSupply]) -> tuple[Fit, ...]:
    """Where a recipe may be used: one verdict for each centre, node and chip that there is."""
    found = []
    for offer in supply:
        usable = {engine.name for engine in offer.engines if not engine.error}
        then = document.engine.build
        build = then if then.name in usable else EngineBuild(name="none", version="none", build_digest="0" * 64)
        for node in offer.nodes:
            by_chip: dict[str, list[Card]] = {}
            for card in node.cards:
                if card.health != "missing":
                    by_chip.setdefault(card.chip, []).append(card)
            for chip, cards in by_chip.items():
                verdict = recipe_diff.applies(document, fingerprint(cards), document.model.digest, build)
                found.append(Fit(offer.centre.name, node.name, chip, verdict))
    return tuple(found)


async def keep_signed(tx: Tx, state: ControlState, document: Recipe) -> str:
    """Sign a recipe that was made here, and keep it; its content id. Raises BadRecipe, NotCanonical, Conflict."""
    now = state.clock.unix_s()
    key = state.secrets.signing_key
    trusted = (await trust_list(tx, state)).keys[key.id]
    if trusted.revoked is not None:
        raise Conflict(
            f"this instance's key was revoked: {trusted.revoked.why}",
            next_step="Move the file secrets/signing_key away and start control anew; it then makes another key.",
        )
    data = signing.sign(document, key)
    kept = _kept(msgspec.json.decode(data, type=Envelope), data, "local", now)
    await recipes.ensure_key(tx, own_key(state))
    await recipes.add_recipe(tx, kept)
    return kept.id


async def _checked(tx: Tx, state: ControlState, data: bytes) -> Envelope:
    verdict = signing.check(data, await trust_list(tx, state), state.clock.unix_s())
    if verdict.refusal == "malformed":
        raise BadRecipe(f"This is no signed recipe: {verdict.reason}", next_step=verdict.next_step, refusal="malformed")
    if verdict.refusal is not None:
        raise RecipeRefused(
            f"The recipe is refused ({verdict.refusal}): {verdict.reason}",
            next_step=verdict.next_step,
            refusal=verdict.refusal,
            recipe_id=verdict.recipe_id,
            signed_by=verdict.signed_by,
        )
    return msgspec.json.decode(data, type=Envelope)


def _kept(envelope: Envelope, data: bytes, origin: Origin, now: float) -> KeptRecipe:
    document = envelope.recipe
    return KeptRecipe(
        id=envelope.recipe_id,
        model=document.model.name,
        chip=document.chip.chip_id,
        engine=document.engine.build.name,
        workload=_workload(document),
        envelope=data.decode(),
        key_id=envelope.key_id,
        origin=origin,
        created_at=now,
    )


def _workload(document: Recipe) -> str:
    """The workload in a few words: ``32+128 tokens, 8 and 1 in flight``."""
    lengths = " or ".join(f"{one.input_tokens}+{one.output_tokens}" for one in document.workload.lengths)
    loads = " and ".join(str(count) for count in document.workload.concurrencies)
    return f"{lengths} tokens" + (f", {loads} in flight" if loads else "")


def _view(kept: KeptRecipe) -> RecipeView:
    return RecipeView(kept, msgspec.json.decode(kept.envelope, type=Envelope))


async def _find(tx: Tx, ref: str) -> KeptRecipe:
    found = await recipes.recipes_beginning(tx, ref) if _BEGINNING.fullmatch(ref) else []
    if not found:
        raise NotFound(f"There is no recipe {ref!r}.", next_step=_LIST)
    if len(found) > 1:
        raise Conflict(f"Several recipes begin with {ref}.", next_step="Give more of the id.")
    return found[0]


def _position(text: str) -> tuple[float, str]:
    at, _, last = text.partition(":")
    try:
        return float(at), last
    except ValueError:
        raise InvalidRequest(fields=["query.after: is no cursor of this list"]) from None
