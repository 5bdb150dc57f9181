"""Roll-outs of recipes to a deployment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from yunhe.sdk.deployments import RecipeRef, SettingValue
from yunhe.sdk.records import Record, Time
from yunhe.sdk.transport import Transport, segment


class Guards(Record):
    """Bounds that the new recipe must keep; None where nothing is promised."""

    ttft_p95_s: float | None
    tpot_p50_s: float | None
    error_share: float
    slowdown_max: float | None


class Policy(Record):
    """How much must be seen before the recipe becomes the default."""

    canary_s: float
    requests_min: int


class Figures(Record):
    """What the gateways saw of the roll-out's replicas; None where no stream has told it."""

    requests: int
    errors: int
    streams: int
    ttft_p95_s: float | None
    tpot_p50_s: float | None


class Rollout(Record):
    """A recipe on its way to become a deployment's: canary, switching, default or rolled_back."""

    id: str
    deployment_id: str
    deployment: str
    stage: str
    stage_since: Time
    reason: str
    progress: str
    recipe: RecipeRef
    recipe_id: str | None
    previous: RecipeRef
    share: float
    generation: int
    guards: Guards
    policy: Policy
    figures: Figures
    others: Figures
    created_at: Time

    @property
    def open(self) -> bool:
        """Whether it is still under way."""
        return self.stage in ("canary", "switching")


class Rollouts:
    """/deployments/{deployment}/rollouts. ``deployment`` is an id or a name."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def start(
        self,
        deployment: str,
        *,
        recipe_id: str | None = None,
        recipe: Mapping[str, str | Mapping[str, SettingValue] | None] | None = None,
        share: float | None = None,
        canary_s: float | None = None,
        requests_min: int | None = None,
        guards: Mapping[str, float] | None = None,
    ) -> Rollout:
        """Give a recipe a canary: a signed one by its id, or ``recipe`` with settings and perhaps engine and name.

        None leaves a condition to the instance; ``guards``: ttft_p95_s, tpot_p50_s, error_share, slowdown_max.
        Raises ApiError.
        """
        optional: dict[str, object] = {
            "recipe_id": recipe_id,
            "recipe": None if recipe is None else dict(recipe),
            "share": share,
            "canary_s": canary_s,
            "requests_min": requests_min,
            "guards": dict(guards) if guards else None,
        }
        body = {field: value for field, value in optional.items() if value is not None}
        return self._transport.one(Rollout, "POST", _path(deployment), body=body)

    def get(self, deployment: str, rollout: str) -> Rollout:
        """One roll-out. Raises NotFound."""
        return self._transport.one(Rollout, "GET", f"{_path(deployment)}/{segment(rollout)}")

    def abort(self, deployment: str, rollout: str) -> Rollout:
        """Take it back. Raises ApiError when it has ended."""
        return self._transport.one(Rollout, "POST", f"{_path(deployment)}/{segment(rollout)}/abort")

    def promote(self, deployment: str, rollout: str) -> Rollout:
        """Make the recipe the default now. Raises ApiError when it has ended."""
        return self._transport.one(Rollout, "POST", f"{_path(deployment)}/{segment(rollout)}/promote")

    def list(self, deployment: str) -> Iterator[Rollout]:
        """The deployment's, newest first. Raises ApiError."""
        return self._transport.pages(Rollout, _path(deployment), {})


def _path(deployment: str) -> str:
    return f"/deployments/{segment(deployment)}/rollouts"
