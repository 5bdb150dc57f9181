"""Models and engines."""

from __future__ import annotations

from typing import Annotated, Any, Self

import msgspec
from pydantic import Field

from yunhe.api.schemas.fields import Input, ModelName, Output, Time, Title
from yunhe.api.schemas.money import Price
from yunhe.catalogue.model import Capability
from yunhe.control.models import ModelView
from yunhe.core.clock import utc

Text = Annotated[str, Field(min_length=1, max_length=2000)]


class Model(Output):
    """A model: architecture, weights and tokenizer at a digest."""

    id: str
    name: str
    architecture: str
    parameters: int | None
    quantisation: str | None
    context_length: int
    licence: str
    capabilities: list[Capability]
    sha256: str | None
    size_bytes: int | None
    location: str
    owned_by: str
    source: str
    created_at: Time
    has_chat_template: bool
    shape: dict[str, int]
    structure: dict[str, Any] | None = Field(
        description="Attention, experts and sizes as `yunhe plan` takes them; null where no config.json told them."
    )
    deployments: list[str] = Field(description="Names of the deployments that serve it.")
    price: Price | None

    @classmethod
    def of_view(cls, view: ModelView) -> Self:
        """The shape of a model with its deployments and price."""
        model = view.model
        return cls(
            id=model.id,
            name=model.name,
            architecture=model.architecture,
            parameters=model.parameters,
            quantisation=model.quantisation,
            context_length=model.context_length,
            licence=model.licence,
            capabilities=list(model.capabilities),
            sha256=model.weights.sha256,
            size_bytes=model.weights.size_bytes,
            location=model.weights.location,
            owned_by=model.owned_by,
            source=model.source,
            created_at=utc(model.created_at),
            has_chat_template=model.chat_template is not None,
            shape=model.shape,
            structure=None if model.structure is None else msgspec.to_builtins(model.structure),
            deployments=list(view.deployments),
            price=None if view.price is None else Price.of(view.price),
        )


class NewModel(Input):
    """A model on the server's machine to take into the catalogue: a GGUF file, a directory, or a config.json."""

    path: Annotated[str, Field(min_length=1, max_length=4096)]
    name: ModelName | None = None
    licence: Title | None = None
    probe_prompt: Text | None = None
    probe_expect: Annotated[str, Field(min_length=1, max_length=500)] | None = None


class NewExternalModel(Input):
    """A model that only external servers hold."""

    name: ModelName
    context_length: Annotated[int, Field(strict=True, ge=1, le=100_000_000)]
    capabilities: Annotated[tuple[Capability, ...], Field(min_length=1, max_length=3)] = ("chat", "completions")
    licence: Title | None = None
    owned_by: Title | None = None


class Engine(Output):
    """An inference engine that some centre's agent has loaded, or failed to load (`error`)."""

    name: str
    version: str
    centres: list[str]
    error: str
