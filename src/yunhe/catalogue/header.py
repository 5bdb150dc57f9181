"""What a model's files say about it, and what the header of a GGUF weights file says.

Keys and meaning: the GGUF specification (github.com/ggml-org/ggml, docs/gguf.md). Reading the file is control's work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from yunhe.catalogue.architecture import Architecture
from yunhe.catalogue.errors import BadWeights
from yunhe.catalogue.model import Capability

#: A template longer than this is refused: none in use comes near it.
TEMPLATE_CHARS_MAX: Final = 256 * 1024
CONTEXT_MAX: Final = 2**31 - 1
#: Our name of a shape -> the key after ``ARCHITECTURE.``
_SHAPE_KEYS: Final = {
    "layers": "block_count",
    "hidden_size": "embedding_length",
    "feed_forward": "feed_forward_length",
    "heads": "attention.head_count",
    "kv_heads": "attention.head_count_kv",
    "head_size": "attention.key_length",
    "vocabulary": "vocab_size",
    "experts": "expert_count",
    "experts_used": "expert_used_count",
}

_PLAIN_TYPES: Final = frozenset({"f64", "f32", "f16", "bf16", "i8", "i16", "i32", "i64"})

HeaderValue = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Header:
    """A weights file's header as read: scalar metadata, and the counted tensors."""

    metadata: Mapping[str, HeaderValue]
    parameters: int
    #: Type that most tensor bytes have: q4_1, f16 ...
    quantisation: str
    #: Number of tokens in the tokenizer; 0 when it has none.
    tokens: int
    #: Type -> bytes of its tensors.
    tensor_bytes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WeightsFacts:
    """What the catalogue takes from a model's files."""

    architecture: str
    context_length: int
    parameters: int | None
    quantisation: str
    licence: str
    source: str
    title: str
    capabilities: tuple[Capability, ...]
    chat_template: str | None
    shape: dict[str, int]
    structure: Architecture | None = None


def facts_of(header: Header) -> WeightsFacts:
    """The model behind a header. Raises BadWeights with the reason when no language model can be run from it."""
    meta = header.metadata
    kind = meta.get("general.type", "model")
    if kind != "model":
        raise BadWeights(f"the file holds a {kind}, not a model", next_step="Add the model's own weights file.")
    if _count(meta, "split.count") > 1:
        raise BadWeights(
            "the file is one part of a split model", next_step="Merge the parts into one file, then add that."
        )
    architecture = meta.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise BadWeights("the header names no architecture (general.architecture)")
    if header.parameters == 0:
        raise BadWeights("the file holds no tensors")
    if header.tokens == 0:
        raise BadWeights(
            "the file holds no tokenizer", next_step="Convert the model again together with its tokenizer."
        )
    context = _count(meta, f"{architecture}.context_length")
    if not 1 <= context <= CONTEXT_MAX:
        raise BadWeights(f"the header's {architecture}.context_length is missing or out of range")
    template = meta.get("tokenizer.chat_template")
    if isinstance(template, str) and len(template) > TEMPLATE_CHARS_MAX:
        raise BadWeights(f"the chat template is longer than {TEMPLATE_CHARS_MAX} characters")
    chat_template = template if isinstance(template, str) and template else None
    return WeightsFacts(
        architecture=architecture,
        context_length=context,
        parameters=header.parameters,
        quantisation=header.quantisation,
        licence=_text(meta, "general.license"),
        source=_text(meta, "general.source.url") or _text(meta, "general.repo_url"),
        title=_text(meta, "general.name"),
        capabilities=_capabilities(meta, architecture, chat_template),
        chat_template=chat_template,
        shape=_shape(header, architecture),
    )


def _capabilities(
    meta: Mapping[str, HeaderValue], architecture: str, chat_template: str | None
) -> tuple[Capability, ...]:
    """A pooled model makes embeddings; any other completes text, and chats when it has a template."""
    if _count(meta, f"{architecture}.pooling_type") > 0:
        return ("embeddings",)
    return ("chat", "completions") if chat_template else ("completions",)


def _shape(header: Header, architecture: str) -> dict[str, int]:
    shape = {
        ours: value
        for ours, theirs in _SHAPE_KEYS.items()
        if (value := _count(header.metadata, f"{architecture}.{theirs}"))
    }
    if "head_size" not in shape and shape.get("heads") and shape.get("hidden_size"):
        shape["head_size"] = shape["hidden_size"] // shape["heads"]
    if shape.get("heads"):
        shape.setdefault("kv_heads", shape["heads"])
    shape.setdefault("vocabulary", header.tokens)
    # Engines may hold tensors of some quantised types a second time, in an order that suits the processor.
    quantised = {name: size for name, size in header.tensor_bytes.items() if name not in _PLAIN_TYPES}
    return shape | {f"{name}_bytes": size for name, size in sorted(quantised.items())}


def _count(meta: Mapping[str, HeaderValue], key: str) -> int:
    """A whole number that is not negative; 0 where the key is absent or something else."""
    value = meta.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _text(meta: Mapping[str, HeaderValue], key: str) -> str:
    value = meta.get(key)
    return value[:200] if isinstance(value, str) else ""
