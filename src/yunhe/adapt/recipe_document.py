"""The document of a recipe: how a model was run on a chip, what was measured, and how faithful it stayed.

Every field is always written; what nobody knows is null. Units end the names, shares lie between 0 and 1, digests are
sha256 in lower-case hexadecimal, times are seconds since 1970. A document holds no secret and no name of a machine.
Its id is the sha256 of its canonical bytes, so one changed value makes another recipe.
"""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from yunhe.adapt.canonical import Json, canonical_bytes, content_id
from yunhe.adapt.recipe_evidence import Baseline, FidelityPart, Load, Measurement, PredictionPart, Reproduction
from yunhe.adapt.recipe_fields import (
    Amount,
    Count,
    Digest,
    EngineBuild,
    Name,
    Part,
    RecipeId,
    Sentence,
    Settings,
    Share,
    UnixTime,
    refuse_secrets,
    secrets_in,
)
from yunhe.core.errors import InvalidRequest

SCHEMA: Final = "yunhe.recipe/1"

_SHARES_SLACK: Final = 1e-6


class BadRecipe(InvalidRequest):
    """The document is no recipe."""

    code = "bad_recipe"
    default_next_step = "Correct what the message names, or ask the maker for the recipe again."


class Quantisation(Part, frozen=True, kw_only=True):
    """How the weights that run were made from the model's."""

    tool: Name
    tool_version: Name
    format: Name
    #: Of the texts that it was calibrated on.
    calibration_digest: Digest | None
    #: Of the weights that came out.
    result_digest: Digest


class ModelPart(Part, frozen=True, kw_only=True):
    """The model: the weights that were asked for, before any quantisation by the recipe."""

    name: Name
    digest: Digest
    architecture: Name
    #: Where the weights come from, with their revision.
    source: Sentence
    quantisation: Quantisation | None


class LinkTopology(Part, frozen=True, kw_only=True):
    """How the cards reach each other."""

    shape: Literal["none", "host bus", "ring", "full mesh", "switch", "other", "unknown"]
    #: Of one card to the others, one way.
    bandwidth_bytes_per_s: Amount | None


class ChipFingerprint(Part, frozen=True, kw_only=True):
    """The cards that a recipe was measured on, or that are here. Numbers are those of one card."""

    #: Of the catalogue.
    chip_id: Name
    model_name: Name
    core_count: Count | None
    memory_bytes: Count | None
    #: Instruction sets or compute capabilities that engines choose by; sorted, each once.
    instruction_sets: tuple[Name, ...]
    firmware_version: Name | None
    driver_version: Name | None
    #: Cards.
    count: Count
    link_topology: LinkTopology

    def __post_init__(self) -> None:
        if list(self.instruction_sets) != sorted(set(self.instruction_sets)):
            raise ValueError("instruction sets are not sorted, or one comes twice")


class HostPart(Part, frozen=True, kw_only=True):
    """The machine around the cards, without its name."""

    cpu_model_name: Name | None
    cpu_cores: Count | None
    memory_bytes: Count | None
    numa_nodes: Count | None
    os: Name
    kernel: Name | None
    governor: Name | None


class EnginePart(Part, frozen=True, kw_only=True):
    """The build and how it was started. Raises ValueError where argv or env holds a secret."""

    build: EngineBuild
    argv: tuple[str, ...]
    env: dict[str, str]

    def __post_init__(self) -> None:
        if held := secrets_in(self.argv, self.env):
            raise ValueError(f"{', '.join(held)} would publish a secret")


class Parallelism(Part, frozen=True, kw_only=True):
    """Over how many cards each dimension is cut."""

    tensor: Count
    pipeline: Count
    expert: Count
    data: Count


class LengthShare(Part, frozen=True, kw_only=True):
    """Requests of one length."""

    input_tokens: Count
    output_tokens: Count
    share: Share


class Objectives(Part, frozen=True, kw_only=True):
    """What a request must keep to count as goodput."""

    ttft_s: Amount | None
    tpot_s: Amount | None


class Workload(Part, frozen=True, kw_only=True):
    """What the engine was loaded with. The shares of the lengths sum to 1."""

    lengths: Annotated[tuple[LengthShare, ...], Meta(min_length=1)]
    concurrencies: tuple[Count, ...]
    request_rates_per_s: tuple[Annotated[float, Meta(gt=0)], ...]
    arrival: Literal["closed", "poisson", "constant", "closed and poisson", "closed and constant"]
    seed: int
    #: Of the prompts, where they are not random tokens.
    prompts_digest: Digest | None
    objectives: Objectives | None

    def __post_init__(self) -> None:
        total = math.fsum(part.share for part in self.lengths)
        if abs(total - 1.0) > _SHARES_SLACK:
            raise ValueError(f"the shares of the lengths sum to {total:.6g}, not to 1")

    def includes(self, load: Load) -> bool:
        """Whether this load is one of the workload's points."""
        return load.concurrency in self.concurrencies or load.requests_per_s in self.request_rates_per_s


class Recipe(Part, frozen=True, kw_only=True):
    """A recipe.

    Raises ValueError for a load that the workload lacks or that was measured twice, for more parts than cards, and for
    a setting that holds a secret.
    """

    schema: Literal["yunhe.recipe/1"]
    model: ModelPart
    chip: ChipFingerprint
    host: HostPart
    engine: EnginePart
    settings: Settings
    parallelism: Parallelism
    workload: Workload
    prediction: PredictionPart | None
    measurements: Annotated[tuple[Measurement, ...], Meta(min_length=1)]
    baseline: Baseline | None
    fidelity: FidelityPart
    known_limits: tuple[Sentence, ...]
    #: As the maker says; who signed is told by the key.
    made_by: Name
    made_at_unix_s: UnixTime
    parent_recipe_id: RecipeId | None
    reproductions: tuple[Reproduction, ...]

    def __post_init__(self) -> None:
        refuse_secrets(self.settings)
        loads = [measurement.load for measurement in self.measurements]
        if len({load.label for load in loads}) < len(loads):
            raise ValueError("one load was measured twice; join the repeats into one measurement")
        loads += [point.load for point in self.prediction.points] if self.prediction else []
        loads += [gain.load for gain in self.baseline.gains] if self.baseline else []
        for load in loads:
            if not self.workload.includes(load):
                raise ValueError(f"the workload has no point of {load.label}")
        cards = self.parallelism.tensor * self.parallelism.pipeline * self.parallelism.data
        if cards > self.chip.count:
            raise ValueError(f"tensor x pipeline x data parallelism takes {cards} cards of {self.chip.count}")


def read_recipe(document: Json) -> Recipe:
    """The recipe that a JSON value holds. Raises BadRecipe with the place of the first fault."""
    try:
        return msgspec.convert(document, Recipe)
    except msgspec.ValidationError as error:
        raise BadRecipe(str(error)) from None


def recipe_json(recipe: Recipe) -> Json:
    """A recipe as a JSON value that reads back. Raises BadRecipe where a value is out of its bounds."""
    try:
        document: Json = msgspec.to_builtins(recipe)
    except TypeError as error:
        raise BadRecipe(f"a value is of no type of JSON: {error}") from None
    read_recipe(document)
    return document


def recipe_id(recipe: Recipe) -> str:
    """Its content id, ``rcp_...``. Raises BadRecipe or NotCanonical for a recipe that cannot be written."""
    return content_id(canonical_bytes(recipe_json(recipe)))


def schema_text() -> str:
    """The JSON Schema of a recipe, as it lies in the package beside the code, with a last line break."""
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": SCHEMA}
    return json.dumps(schema | msgspec.json.schema(Recipe), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
