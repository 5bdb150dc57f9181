"""The catalogue of models, and the engines that centres have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from yunhe.sdk.prices import Price
from yunhe.sdk.records import Record, Time
from yunhe.sdk.transport import Transport


class Model(Record):
    """A model: architecture, weights and tokenizer at a digest; None where unknown."""

    id: str
    name: str
    architecture: str
    parameters: int | None
    quantisation: str | None
    context_length: int
    licence: str
    capabilities: list[str]
    sha256: str | None
    size_bytes: int | None
    location: str
    owned_by: str
    source: str
    created_at: Time
    has_chat_template: bool
    shape: dict[str, int]
    #: Attention, experts and sizes as predictions take them; None where no config.json told them.
    structure: dict[str, Any] | None = None
    deployments: list[str]
    price: Price | None


class Engine(Record):
    """An inference engine that some centre's agent has loaded, or failed to load (``error``)."""

    name: str
    version: str
    centres: list[str]
    error: str


class Models:
    """/models. Names may hold slashes."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, name: str) -> Model:
        """One model. Raises NotFound."""
        return self._transport.one(Model, "GET", _path(name))

    def add(
        self,
        path: str,
        *,
        name: str | None = None,
        licence: str | None = None,
        probe_prompt: str | None = None,
        probe_expect: str | None = None,
    ) -> Model:
        """Take a model on the instance's own machine into the catalogue.

        ``path``: a GGUF file, a directory with config.json and safetensors weights, or a config.json alone. Raises
        InvalidRequest (bad_weights, bad_model_config, unknown_model_type).
        """
        body = {
            "path": path,
            "name": name,
            "licence": licence,
            "probe_prompt": probe_prompt,
            "probe_expect": probe_expect,
        }
        return self._transport.one(
            Model, "POST", "/models", body={field: value for field, value in body.items() if value is not None}
        )

    def add_external(
        self,
        name: str,
        *,
        context_length: int,
        capabilities: Sequence[str] | None = None,
        licence: str | None = None,
        owned_by: str | None = None,
    ) -> Model:
        """A model that only external servers hold. Raises Conflict when the name is taken."""
        body = {
            "name": name,
            "context_length": context_length,
            "capabilities": None if capabilities is None else [*capabilities],
            "licence": licence,
            "owned_by": owned_by,
        }
        return self._transport.one(
            Model, "POST", "/models/external", body={field: value for field, value in body.items() if value is not None}
        )

    def remove(self, name: str) -> None:
        """Take it out of the catalogue. Raises Conflict while it is deployed."""
        self._transport.call("DELETE", _path(name))

    def engines(self) -> Iterator[Engine]:
        """The inference engines that centres have. Raises ApiError."""
        return self._transport.pages(Engine, "/engines")

    def list(self) -> Iterator[Model]:
        """The whole catalogue. Raises ApiError."""
        return self._transport.pages(Model, "/models")


def _path(name: str) -> str:
    return f"/models/{quote(name, safe='/')}"
