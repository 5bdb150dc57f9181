"""Roll-outs of recipes."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from yunhe.api.schemas.deployments import RecipeRef, Settings
from yunhe.api.schemas.fields import Input, Output, Reference, Slug, Time
from yunhe.control import rollouts
from yunhe.control.rollouts import RolloutAsk, RolloutView
from yunhe.serve import rollout as policy
from yunhe.serve.rollout import RolloutStage

Seconds = Annotated[float, Field(gt=0, le=3600)]
Share = Annotated[float, Field(ge=0, le=1)]


class Guards(Output):
    """Bounds that the new recipe must keep; null where nothing is promised.

    Seconds hold on a card of its own; ``slowdown_max`` bounds its median TPOT over that of the replicas beside it.
    """

    ttft_p95_s: float | None
    tpot_p50_s: float | None
    error_share: float
    slowdown_max: float | None


class Policy(Output):
    """How much must be seen before the recipe becomes the default."""

    canary_s: float
    requests_min: int


class Figures(Output):
    """What the gateways saw of the roll-out's replicas; null where no stream has told it."""

    requests: int
    errors: int
    streams: int
    ttft_p95_s: float | None
    tpot_p50_s: float | None


class Rollout(Output):
    """A recipe on its way to become a deployment's."""

    id: str
    deployment_id: str
    deployment: str
    stage: RolloutStage
    stage_since: Time
    reason: str = Field(description="Why it is in this stage.")
    progress: str = Field(description="What it waits for, or why it ended.")
    recipe: RecipeRef
    recipe_id: str | None = Field(description="Of the signed recipe; null for one given without evidence.")
    previous: RecipeRef
    share: float
    generation: int
    guards: Guards
    policy: Policy
    figures: Figures
    others: Figures = Field(description="Of the deployment's other replicas over the same time.")
    created_at: Time

    @classmethod
    def of_view(cls, view: RolloutView) -> Self:
        """The shape of a roll-out with its figures."""
        one = view.rollout
        plain = ("id", "deployment_id", "stage", "stage_since", "reason", "recipe_id", "share", "generation")
        return cls.model_validate(
            {name: getattr(one, name) for name in plain}
            | {
                "deployment": view.deployment.name,
                "progress": view.progress,
                "recipe": RecipeRef.of(one.recipe),
                "previous": RecipeRef.of(one.previous),
                "guards": Guards.of(one.guards),
                "policy": Policy.of(one.policy),
                "figures": Figures.of(view.figures),
                "others": Figures.of(view.others),
                "created_at": one.created_at,
            }
        )


class NewRecipe(Input):
    """A recipe given as it is, without evidence."""

    settings: Annotated[Settings, Field(default_factory=dict)]
    engine: Slug | None = None
    name: Slug | None = None


class NewGuards(Input):
    """Bounds that the new recipe must keep; what is absent is not bounded. Errors are not tolerated unless said."""

    ttft_p95_s: Seconds | None = None
    tpot_p50_s: Seconds | None = None
    error_share: Share = 0.0
    slowdown_max: Annotated[float, Field(gt=0, le=1000)] | None = 2.0


class NewRollout(Input):
    """A recipe to roll out: a signed one by its id, or one given here."""

    recipe_id: Reference | None = None
    recipe: NewRecipe | None = None
    share: Annotated[float, Field(gt=0, le=1, description="Of the model's requests, for the canary.")] = 0.2
    canary_s: Annotated[float, Field(ge=0, le=86_400, description="Shortest time of the canary.")] = 60.0
    requests_min: Annotated[
        int, Field(strict=True, ge=0, le=500, description="Requests that the canary must have answered.")
    ] = 20
    guards: NewGuards | None = None

    def ask(self) -> RolloutAsk:
        """The wish as the service takes it."""
        return RolloutAsk(
            recipe=None if self.recipe is None else rollouts.RecipeAsk(**self.recipe.model_dump()),
            recipe_id=self.recipe_id,
            share=self.share,
            policy=policy.Policy(self.canary_s, self.requests_min),
            guards=None if self.guards is None else policy.Guards(**self.guards.model_dump()),
        )
