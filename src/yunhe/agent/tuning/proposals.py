"""What a search tries here: the settings that this centre's engines declare, best expectation first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from yunhe.adapt.adaptation import AdaptationSpec
from yunhe.adapt.candidates import Candidate, Settings, candidates
from yunhe.adapt.proposal import expected_speed
from yunhe.agent.drivers import Engines
from yunhe.catalogue.model import Model, Recipe, SettingValue
from yunhe.catalogue.ports import Engine, SettingsSpace
from yunhe.core.errors import InvalidRequest
from yunhe.pool.model import Card

#: Settings that change what comes out; the others change only how fast. Candidates that agree in them share a verdict.
NUMERIC_SETTINGS = frozenset(
    {"weight_format", "kv_type", "kv_cache_dtype", "flash_attention", "repack", "dtype", "precision", "quantization"}
)
CANDIDATES_MAX = 400


def propose(engines: Engines, spec: AdaptationSpec, model: Model, cards: Sequence[Card]) -> list[Candidate]:
    """Candidates in the order in which to try them. Raises InvalidRequest when no engine here can run the model."""
    card = cards[0] if cards else None
    spaces: dict[str, SettingsSpace] = {}
    refused = []
    for name, engine in engines.by_name.items():
        if spec.engines and name not in spec.engines:
            continue
        verdict = engine.supports(model, card)
        if verdict.supported and card is not None:
            spaces[name] = engine.settings(model, card)
        else:
            refused.append(f"{name}: {verdict.reason}")
    unknown = [name for name in spec.engines if name not in engines.by_name]
    if unknown or not spaces:
        missing = f"this centre has no engine {', '.join(unknown)}" if unknown else "; ".join(refused)
        raise InvalidRequest(
            f"{model.name} cannot be adapted here: {missing}.",
            next_step="List engines: yunhe engine list. Install one: yunhe engine install NAME.",
        )
    wide = max(spec.workload.concurrencies)
    found = candidates(
        spaces,
        constraint=lambda engine, settings: _refusal(engines.by_name[engine], model, cards, settings),
        numerics=lambda engine, settings: numerics(engines.by_name[engine], settings),
        scores=lambda all_of_them: [expected_speed(one.settings, wide, one.engine) for one in all_of_them],
        limit=4000,
    )
    return by_turns(found)[:CANDIDATES_MAX]


def by_turns(found: Sequence[Candidate]) -> list[Candidate]:
    """The engines take turns, each in its own order: what is expected of one engine must not keep the others out."""
    queues: dict[str, list[Candidate]] = {}
    for one in found:
        queues.setdefault(one.engine, []).append(one)
    turns = zip_longest(*queues.values())
    return [one for turn in turns for one in turn if one is not None]


def candidate_of(name: str, engines: Engines, engine: str, settings: Settings) -> Candidate:
    """A candidate that was named rather than proposed. Raises InvalidRequest when its engine is not here."""
    return Candidate(name, engine, dict(settings), numerics(engines.get(engine), settings))


def numerics(engine: Engine, settings: Settings) -> str:
    """Equal for candidates whose answers are equally faithful."""
    kept = sorted((name, value) for name, value in settings.items() if name in NUMERIC_SETTINGS)
    shown = " ".join(f"{name}={_plain(value)}" for name, value in kept)
    return f"{engine.name} {engine.version} {shown}".strip()


def _plain(value: SettingValue) -> str:
    return str(value).lower()


def _refusal(engine: Engine, model: Model, cards: Sequence[Card], settings: Settings) -> str:
    """What the driver itself says against these settings; empty when nothing."""
    recipe = Recipe("trial", "trial", model.name, "any", engine.name, dict(settings))
    try:
        engine.launch(model, recipe, cards, Path("/weights"), None)
    except InvalidRequest as error:
        return error.message
    return ""
