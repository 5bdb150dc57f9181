"""Models and recipes. Bytes are integers, times float unix seconds, unknown is None."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from yunhe.catalogue.architecture import Architecture

Capability = Literal["chat", "completions", "embeddings"]
SettingValue = str | int | float | bool

#: In a recipe: the engine or chip is left open; the broker chooses when it places a replica.
ANY: Final = "any"
#: Entry-point name of the engine that attaches to a server that already runs (``ExternalServer``).
EXTERNAL_ENGINE: Final = "external"
#: Format and location of weights that nobody gave: such a model can be planned, and not run.
NO_WEIGHTS: Final = "none"


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model's weights lie and what they must be."""

    #: ``gguf``, ``safetensors``; ``external``, ``none``.
    format: str
    #: Hexadecimal, of the one file, or of the list of files (which has theirs); None for external and none.
    sha256: str | None
    #: Of the file; of safetensors those of the tensors.
    size_bytes: int | None
    #: ``package:IMPORT_NAME/PATH``, ``file:/ABSOLUTE/PATH``, ``external`` or ``none``. Of safetensors the path is that
    #: of the list of files, which lies beside them.
    location: str


@dataclass(frozen=True, slots=True)
class Probe:
    """A prompt with a known answer, by which a replica proves that it is sane."""

    prompt: str
    #: Regular expression searched in the answer; None accepts any text that is not degenerate.
    expect: str | None
    max_tokens: int = 16


@dataclass(frozen=True, slots=True)
class Model:
    """A model: architecture + weights + tokenizer at a digest."""

    id: str
    #: Public name: lowercase letters, digits, dots, dashes, underscores, slashes.
    name: str
    architecture: str
    parameters: int | None
    #: q4_1, f16 ...
    quantisation: str | None
    context_length: int
    licence: str
    capabilities: tuple[Capability, ...]
    weights: Weights
    probe: Probe
    #: Jinja text of the chat template inside the weights; None when there is none (then no chat).
    chat_template: str | None
    created_at: float
    owned_by: str = "yunhe"
    source: str = ""
    #: layers, hidden_size, heads, kv_heads, head_size, vocabulary ... as far as the file says.
    shape: dict[str, int] = field(default_factory=dict)
    #: What predictions need, where a configuration told it.
    structure: Architecture | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to run a model on a chip with an engine. This issue's recipes are drivers' defaults, without evidence."""

    id: str
    #: Short name shown in ``x-yunhe-served-by``: ``default`` until adaptation makes better ones.
    name: str
    model: str
    #: Chip id, or ``any``.
    chip: str
    #: Entry-point name of the engine; ``any`` in a deployment that leaves the choice to the broker.
    engine: str
    settings: dict[str, SettingValue]


@dataclass(frozen=True, slots=True)
class ExternalServer:
    """An OpenAI-compatible server that already runs somewhere, brought in as a replica."""

    #: Ends before ``/v1``: http://host:port or http://host:port/prefix
    base_url: str
    api_key: str | None
    #: Name of the model over there.
    upstream_model: str
    #: Declared decode speed over all slots; None lets the agent measure.
    tokens_per_s: float | None
    slots: int = 8
    chip: str = "external"
