"""What a roll-out takes from a signed recipe: how to run the model, and the bounds that its evidence promises. Pure."""

from __future__ import annotations

from typing import Final

from yunhe.adapt.recipe_document import Recipe as Document
from yunhe.adapt.recipe_fields import Estimate
from yunhe.adapt.signing import Envelope
from yunhe.catalogue.model import Model, Recipe
from yunhe.core.errors import Conflict
from yunhe.serve.rollout import Guards

#: Live prompts differ from those of the trials: what was measured may be exceeded by this factor.
SLACK: Final = 1.5
#: Hexadecimal digits of a content id that make a recipe's short name.
SHORT_DIGITS: Final = 12


def short_name(recipe_id: str) -> str:
    """The name that ``x-yunhe-served-by`` shows: the beginning of a content id."""
    kind, _, digits = recipe_id.partition("_")
    return f"{kind}_{digits[:SHORT_DIGITS]}"


def serving_recipe(envelope: Envelope, model: Model) -> Recipe:
    """A signed recipe as deployments hold it; the caller has checked the signature. For its own chip only.

    Raises Conflict when it is of other weights, or when its fidelity gate was not passed.
    """
    document = envelope.recipe
    # Centres may call the same weights by other names; what counts is what they are.
    if document.model.digest != model.weights.sha256:
        raise Conflict(
            f"the recipe is of {document.model.name} with weights {document.model.digest[:12]}, "
            f"not of {model.name} with weights {(model.weights.sha256 or 'unknown')[:12]}",
            next_step="Adapt this model: yunhe adapt.",
        )
    if document.fidelity.verdict != "passed":
        raise Conflict(
            f"the recipe's fidelity gate says {document.fidelity.verdict}: {'; '.join(document.fidelity.reasons)}",
            next_step="Choose a recipe that passed its gate: yunhe recipe list.",
        )
    return Recipe(
        id=envelope.recipe_id,
        name=short_name(envelope.recipe_id),
        model=model.name,
        chip=document.chip.chip_id,
        engine=document.engine.build.name,
        settings=dict(document.settings),
    )


def promised(document: Document, slack: float = SLACK) -> Guards:
    """The bounds of a recipe's evidence: the slowest of its loads, the upper end of its interval, times ``slack``."""
    ttft_s = max(_upper(one.ttft_p99_s) for one in document.measurements)
    tpot_s = max(_upper(one.tpot_p90_s) for one in document.measurements)
    # Answers of one token have no time between tokens.
    return Guards(ttft_p95_s=ttft_s * slack or None, tpot_p50_s=tpot_s * slack or None)


def _upper(estimate: Estimate) -> float:
    return estimate.value if estimate.interval is None else estimate.interval.high
