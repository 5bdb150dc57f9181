"""Signed recipes and the trust list."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from yunhe.adapt.recipe_diff import Change as Found
from yunhe.adapt.recipe_document import recipe_json
from yunhe.adapt.recipe_fields import Estimate as Measured
from yunhe.api.schemas.fields import GivenTime, Input, Memo, Output, Time, Title, unix_s
from yunhe.control.recipe_keys import KeyView
from yunhe.control.recipes import CheckedRecipe, Fit, RecipeView

Outcome = Literal["applies", "needs force", "never"]


class Estimate(Output):
    """A number and the interval that it lies in; null where there were too few repeats for one."""

    value: float
    low: float | None
    high: float | None
    confidence: float | None

    @classmethod
    def of_measured(cls, one: Measured) -> Self:
        """The shape of an estimate."""
        ends = one.interval
        if ends is None:
            return cls(value=one.value, low=None, high=None, confidence=None)
        return cls(value=one.value, low=ends.low, high=ends.high, confidence=ends.confidence)


class Gain(Output):
    """The recipe over the baseline under one load, by repeats taken in turns."""

    load: str
    metric: str
    ratio: Estimate
    pairs: int


class Fidelity(Output):
    """How close the answers stay to the reference weights'."""

    verdict: str
    use_class: str
    kl_nats: Estimate
    top1_share: Estimate


class Recipe(Output):
    """How to run a model on a chip, with evidence, signed."""

    id: str = Field(description="Content id: the same content has the same id everywhere.")
    model: str
    chip: str
    engine: str
    engine_version: str
    workload: str = Field(description="In a few words.")
    gains: list[Gain]
    fidelity: Fidelity
    made_by: str = Field(description="As the maker says; who signed is told by the key.")
    made_at: Time
    key_id: str
    origin: Literal["local", "imported"]
    created_at: Time = Field(description="Kept here since.")
    revoked_at: Time | None
    revoked_why: str | None

    @classmethod
    def of_view(cls, view: RecipeView) -> Self:
        """The shape of a kept recipe."""
        return cls.model_validate(_recipe_fields(view))


class RecipeVerdict(Output):
    """Whether the recipe is believed here and now."""

    accepted: bool
    refusal: str | None
    reason: str
    next_step: str
    signed_by: str | None


class Place(Output):
    """Whether the recipe may be used on the cards of one chip of one node."""

    centre: str
    node: str
    chip: str
    outcome: Outcome
    reasons: list[str]

    @classmethod
    def of_fit(cls, fit: Fit) -> Self:
        """The shape of a verdict on some cards."""
        return cls(
            centre=fit.centre,
            node=fit.node,
            chip=fit.chip,
            outcome=fit.verdict.outcome,
            reasons=list(fit.verdict.reasons()),
        )


class RecipeDetail(Recipe):
    """A recipe with all that is in it."""

    verdict: RecipeVerdict
    places: list[Place]
    document: dict[str, Any] = Field(description="What was signed, as JSON; its schema is yunhe.recipe/1.")

    @classmethod
    def of_checked(cls, checked: CheckedRecipe) -> Self:
        """The shape of a recipe with its verdicts."""
        return cls.model_validate(
            _recipe_fields(checked.view)
            | {
                "verdict": RecipeVerdict.of(checked.verdict),
                "places": [Place.of_fit(fit) for fit in checked.fits],
                "document": recipe_json(checked.view.document),
            }
        )


def _recipe_fields(view: RecipeView) -> dict[str, Any]:
    kept, document = view.kept, view.document
    plain = ("id", "model", "chip", "engine", "workload", "key_id", "origin", "created_at", "revoked_at", "revoked_why")
    gains = document.baseline.gains if document.baseline else ()
    proof = document.fidelity
    return {name: getattr(kept, name) for name in plain} | {
        "engine_version": document.engine.build.version,
        "gains": [
            Gain(load=one.load.label, metric=one.metric, ratio=Estimate.of_measured(one.ratio), pairs=one.pairs)
            for one in gains
        ],
        "fidelity": Fidelity(
            verdict=proof.verdict,
            use_class=proof.use_class,
            kl_nats=Estimate.of_measured(proof.kl_nats),
            top1_share=Estimate.of_measured(proof.top1_share),
        ),
        "made_by": document.made_by,
        "made_at": document.made_at_unix_s,
    }


class Change(Output):
    """One field that differs."""

    path: str
    kind: Literal["changed", "added", "removed"]
    left: Any
    right: Any
    line: str = Field(description="The change in words.")

    @classmethod
    def of_change(cls, change: Found) -> Self:
        """The shape of a difference."""
        return cls(path=change.path, kind=change.kind, left=change.left, right=change.right, line=change.line())


class RecipeDiff(Output):
    """How two recipes differ; empty when they say the same."""

    a: str
    b: str
    changes: list[Change]


class Revocation(Input):
    """Why something is taken back."""

    why: Annotated[Memo, Field(min_length=1)]


class TrustedKey(Output):
    """A key whose recipes are believed for a time."""

    key_id: str = Field(description="sha256 of the public key.")
    name: str
    own: bool = Field(description="This instance signs with it.")
    public_key: str
    valid_from: Time
    valid_until: Time | None
    revoked_at: Time | None
    revoked_why: str | None

    @classmethod
    def of_view(cls, view: KeyView) -> Self:
        """The shape of a key."""
        plain = ("key_id", "name", "public_key", "valid_from", "valid_until", "revoked_at", "revoked_why")
        return cls.model_validate({name: getattr(view.key, name) for name in plain} | {"own": view.own})


class NewTrustedKey(Input):
    """A key to believe; compare its id with the maker by another way first."""

    name: Title
    public_key: Annotated[
        str, Field(pattern=r"^[0-9a-f]{64}$", min_length=64, max_length=64, description="32 bytes, hexadecimal.")
    ]
    valid_from: GivenTime | None = None
    valid_until: GivenTime | None = None

    def since(self) -> float | None:
        """Unix seconds; None: now."""
        return unix_s(self.valid_from)

    def until(self) -> float | None:
        """Unix seconds; None: until revoked."""
        return unix_s(self.valid_until)
