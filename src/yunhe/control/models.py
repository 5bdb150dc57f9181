"""The catalogue as people use it: weights files taken in, external models described."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from yunhe.catalogue.builtin import ANY_ANSWER_PROBE
from yunhe.catalogue.header import WeightsFacts, facts_of
from yunhe.catalogue.model import EXTERNAL_ENGINE, NO_WEIGHTS, Capability, Model, Probe, Weights
from yunhe.catalogue.names import check_model_name, model_name_of
from yunhe.control.effects import Effects, lock_serve
from yunhe.control.hub import CONTROLLER, SNAPSHOT
from yunhe.control.model_folder import LIST_NAME, is_hf_path, read_model, take_in_folder
from yunhe.control.page import Page, page_of
from yunhe.control.state import ControlState
from yunhe.control.weights import read_header, take_in
from yunhe.core.errors import Conflict, InvalidRequest, NotFound, Unavailable
from yunhe.core.ids import new_id
from yunhe.ledger.model import Price
from yunhe.store import models, serve
from yunhe.store.database import Tx

CONTEXT_MAX: Final = 2**31 - 1
T = TypeVar("T")
_CAPABILITIES: Final[tuple[Capability, ...]] = ("chat", "completions", "embeddings")


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model, the names of its deployments, and the price in force."""

    model: Model
    deployments: tuple[str, ...]
    price: Price | None


class Models:
    """The catalogue's models."""

    def __init__(self, state: ControlState) -> None:
        self._state = state
        #: Large files are read one at a time.
        self._adding = asyncio.Lock()

    async def list(self, limit: int, after: str | None) -> Page[ModelView]:
        """In the order of their names."""
        async with self._state.db.read() as tx:
            found = await models.list_models(tx, limit + 1, after)
            views = await self._views(tx, found)
        return page_of(views, limit, lambda view: view.model.name)

    async def get(self, name: str) -> ModelView:
        """By name or id. Raises NotFound."""
        async with self._state.db.read() as tx:
            return (await self._views(tx, [await _find(tx, name)]))[0]

    async def add_file(
        self, path: str, name: str | None, licence: str | None, probe_prompt: str | None, probe_expect: str | None
    ) -> ModelView:
        """Take a model on this machine into the catalogue: a GGUF file, a directory with a config.json and
        safetensors weights, or a config.json alone, which can be planned and not run.

        Raises BadWeights, BadModelConfig or UnknownModelType with the reason, Conflict for the name, Unavailable when
        the data directory cannot take it.
        """
        if "\0" in path or not path.startswith("/"):
            raise InvalidRequest("path must be absolute", fields=["body.path: must be an absolute path"])
        source = Path(path)
        if name is not None:
            await self._check_free(check_model_name(name))
        probe = _probe(probe_prompt, probe_expect)
        if await asyncio.to_thread(is_hf_path, source):
            return await self._add_folder(source, name, licence, probe)
        name = check_model_name(name or model_name_of(source.stem))
        await self._check_free(name)
        async with self._adding:
            facts = facts_of(await read_header(source))
            kept, digest, size = await _taken(lambda: take_in(source, self._state.home.models))
        weights = Weights("gguf", digest, size, f"file:{kept}")
        model = self._model(name, facts, weights, licence, probe)
        return await self._add(model, f"from {source.name}, sha256 {digest[:12]}")

    async def _add_folder(self, source: Path, name: str | None, licence: str | None, probe: Probe) -> ModelView:
        async with self._adding:
            found = await asyncio.to_thread(read_model, source)
            name = check_model_name(name or model_name_of(found.stem))
            await self._check_free(name)
            if not found.files:
                model = self._model(name, found.facts, Weights(NO_WEIGHTS, None, None, NO_WEIGHTS), licence, probe)
                return await self._add(model, f"from {source.name}, without weights")
            kept, digest = await _taken(lambda: take_in_folder(found.files, self._state.home.models))
        weights = Weights("safetensors", digest, found.weights_bytes, f"file:{kept}")
        model = self._model(name, found.facts, weights, licence, probe)
        return await self._add(
            model, f"from {source.name}, {len(found.files)} files, sha256 of their list {digest[:12]}"
        )

    async def add_external(
        self,
        name: str,
        context_length: int,
        capabilities: Sequence[str] | None,
        licence: str | None,
        owned_by: str | None,
    ) -> ModelView:
        """Describe a model that only external servers hold. Raises Conflict, InvalidRequest."""
        if not 1 <= context_length <= CONTEXT_MAX:
            rule = f"must be 1 to {CONTEXT_MAX}"
            raise InvalidRequest(f"context_length {rule}", fields=[f"body.context_length: {rule}"])
        wanted = capabilities or ("chat", "completions")
        known = tuple(one for one in _CAPABILITIES if one in wanted)
        if len(known) != len(set(wanted)):
            rule = f"must be of {', '.join(_CAPABILITIES)}"
            raise InvalidRequest(f"capabilities {rule}", fields=[f"body.capabilities: {rule}"])
        model = Model(
            id=new_id("model"),
            name=check_model_name(name),
            architecture="unknown",
            parameters=None,
            quantisation=None,
            context_length=context_length,
            licence=licence or "unknown",
            capabilities=known,
            weights=Weights(EXTERNAL_ENGINE, None, None, EXTERNAL_ENGINE),
            probe=ANY_ANSWER_PROBE,
            chat_template=None,
            created_at=self._state.clock.unix_s(),
            owned_by=owned_by or "external",
            source=EXTERNAL_ENGINE,
        )
        return await self._add(model, "held by external servers")

    async def delete(self, name: str) -> None:
        """Take it out of the catalogue; its weights go when no other model has them. Raises NotFound, Conflict."""
        effects = Effects(self._state.clock.unix_s())
        async with self._state.db.write() as tx:
            await lock_serve(tx)
            model = await _find(tx, name)
            users = [one.name for one in await serve.all_deployments(tx) if one.model == model.name]
            if users:
                raise Conflict(
                    f"the model is deployed as {', '.join(sorted(users)[:5])}",
                    next_step="Delete its deployments first, and wait until they are gone.",
                )
            await models.remove_model(tx, model.name)
            effects.event("model", model.id, "model_removed", f"{model.name} left the catalogue")
            others = {other.weights.location for other in await models.all_models(tx)}
            await effects.write(tx)
        self._state.hub.wake(SNAPSHOT)
        await asyncio.to_thread(_drop_weights, model.weights.location, others, self._state.home.models)

    async def _check_free(self, name: str) -> None:
        async with self._state.db.read() as tx:
            if await models.model(tx, name) is not None:
                raise Conflict(f"there is a model {name!r} already", next_step="Choose another name.")

    async def _add(self, model: Model, words: str) -> ModelView:
        effects = Effects(model.created_at)
        async with self._state.db.write() as tx:
            await lock_serve(tx)
            await models.add_model(tx, model)
            effects.event("model", model.id, "model_added", words)
            await effects.write(tx)
            view = (await self._views(tx, [model]))[0]
        self._state.hub.wake(SNAPSHOT, CONTROLLER)
        return view

    def _model(self, name: str, facts: WeightsFacts, weights: Weights, licence: str | None, probe: Probe) -> Model:
        return Model(
            id=new_id("model"),
            name=name,
            architecture=facts.architecture,
            parameters=facts.parameters,
            quantisation=facts.quantisation or None,
            context_length=facts.context_length,
            licence=licence or facts.licence or "unknown",
            capabilities=facts.capabilities,
            weights=weights,
            probe=probe,
            chat_template=facts.chat_template,
            created_at=self._state.clock.unix_s(),
            owned_by="user",
            source=facts.source,
            shape=facts.shape,
            structure=facts.structure,
        )

    async def _views(self, tx: Tx, found: Sequence[Model]) -> Sequence[ModelView]:
        names = {model.name for model in found}
        prices = await models.prices_in_force(tx, self._state.clock.unix_s(), names) if names else {}
        deployments = await serve.all_deployments(tx) if names else []
        return [
            ModelView(
                model,
                tuple(sorted(one.name for one in deployments if one.model == model.name and one.deleted_at is None)),
                prices.get(model.name),
            )
            for model in found
        ]


async def _find(tx: Tx, name: str) -> Model:
    found = await models.model(tx, name)
    if found is None:
        raise NotFound(f"there is no model {name!r}", next_step="List models: yunhe model list.")
    return found


def _probe(prompt: str | None, expect: str | None) -> Probe:
    """The known prompt; without one any answer that is not degenerate will do. Raises InvalidRequest."""
    if prompt is None and expect is not None:
        rule = "needs probe_prompt"
        raise InvalidRequest(f"probe_expect {rule}", fields=[f"body.probe_expect: {rule}"])
    if expect is not None:
        try:
            re.compile(expect)
        except re.error as error:
            raise InvalidRequest(
                f"probe_expect is no regular expression: {error}", fields=["body.probe_expect: no regular expression"]
            ) from None
    return ANY_ANSWER_PROBE if prompt is None else Probe(prompt, expect)


async def _taken(take: Callable[[], T]) -> T:
    """What a blocking copy into the data directory gives. Raises Unavailable when there is no room or right."""
    try:
        return await asyncio.to_thread(take)
    except OSError as error:
        raise Unavailable(
            f"the data directory cannot take the weights: {error.strerror or error}",
            next_step="Free some space, or check the rights of the data directory's models folder.",
        ) from None


def _drop_weights(location: str, still_used: set[str], directory: Path) -> None:
    """Remove what we took in, when no model refers to it any more."""
    kind, _, text = location.partition(":")
    path = Path(text)
    if kind != "file" or location in still_used:
        return
    if path.parent == directory:
        path.unlink(missing_ok=True)
    elif path.name == LIST_NAME and path.parent.parent == directory:
        shutil.rmtree(path.parent, ignore_errors=True)
