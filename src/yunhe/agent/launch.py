"""From what control desires to what the centre runs: the plan of one replica, remembered so that it can be adopted."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from yunhe.agent import weights
from yunhe.agent.drivers import Engines
from yunhe.catalogue.ports import ENGINE_KEY, LaunchPlan
from yunhe.core.errors import InvalidRequest
from yunhe.pool.model import Card
from yunhe.pool.workload import Workload
from yunhe.serve.sync import DesiredReplica

_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Launch:
    """What is remembered of a replica on disk, so that the next agent can adopt it."""

    plan: LaunchPlan
    #: It has answered its known prompt; its speed then.
    proven: bool = False
    tokens_per_s: float | None = None
    #: Tokens of that proof, which no user asked for.
    proof_prompt_tokens: int = 0
    proof_completion_tokens: int = 0


def plan(
    desired: DesiredReplica, engines: Engines, card_of: Callable[[str], Card | None], verified_weights: Path
) -> LaunchPlan:
    """How to start it here, with a key of its own. May read gigabytes of weights: call it off the event loop.

    Raises InvalidRequest when this centre cannot run it, WeightsMissing, WeightsAltered.
    """
    engine = engines.get(desired.recipe.engine)
    cards = []
    for uid in desired.cards:
        card = card_of(uid)
        if card is None:
            raise InvalidRequest(f"This centre has no card {uid!r}.", next_step="Let it be placed again.", card=uid)
        cards.append(card)
    verdict = engine.supports(desired.model, cards[0] if cards else None)
    if not verdict.supported:
        raise InvalidRequest(f"{engine.name} cannot run {desired.model.name} here: {verdict.reason}.")
    path = None if desired.external is not None else weights.verified(desired.model, verified_weights)
    made = engine.launch(desired.model, desired.recipe, cards, path, desired.external)
    if made.api_key != ENGINE_KEY:
        return made
    key = secrets.token_urlsafe(_KEY_BYTES)
    return replace(made, api_key=key, files={name: text.replace(ENGINE_KEY, key) for name, text in made.files.items()})


def workload(desired: DesiredReplica, made: LaunchPlan) -> Workload:
    """What the centre's driver is asked to run."""
    return Workload(
        id=desired.replica_id,
        name=desired.deployment,
        argv=made.argv,
        env=made.env,
        cards=desired.cards,
        cpu_cores=made.cpu_cores,
        memory_bytes=made.memory_bytes,
        files=made.files,
    )
