"""The model that probes run: the one that comes with every instance, or a GGUF file of the caller's own."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Final

from gguf import GGUFReader

from yunhe.adapt.measured_chip import MeasuredModel
from yunhe.catalogue.builtin import ANY_ANSWER_PROBE, DEFAULT_MODEL, default_model
from yunhe.catalogue.header import Header, HeaderValue, facts_of
from yunhe.catalogue.model import Model, Weights
from yunhe.catalogue.names import model_name_of
from yunhe.core.errors import InvalidRequest

_MODEL_ID: Final = "mod_calibration"


def find_model(name: str, now: float) -> Model:
    """By its name or the path of its file. Raises InvalidRequest, or BadWeights with the reason. Blocks."""
    if name == DEFAULT_MODEL:
        return default_model(_MODEL_ID, now)
    path = Path(name).expanduser().absolute()
    if not path.is_file():
        raise InvalidRequest(
            f"{name} is neither {DEFAULT_MODEL} nor a file",
            next_step="Give the path of a GGUF file, or leave --model out.",
        )
    facts = facts_of(read_header(path))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Model(
        id=_MODEL_ID,
        name=model_name_of(path.stem),
        architecture=facts.architecture,
        parameters=facts.parameters,
        quantisation=facts.quantisation,
        context_length=facts.context_length,
        licence=facts.licence,
        capabilities=facts.capabilities,
        weights=Weights("gguf", digest, path.stat().st_size, f"file:{path}"),
        probe=ANY_ANSWER_PROBE,
        chat_template=facts.chat_template,
        created_at=now,
        owned_by="",
        source="",
        shape=facts.shape,
    )


def read_header(path: Path) -> Header:
    """Of a file that the caller brings. Raises InvalidRequest when it is no whole GGUF file."""
    try:
        reader = GGUFReader(path)
    except (ValueError, IndexError, KeyError, TypeError, OSError) as error:
        raise InvalidRequest(
            f"{path.name} cannot be read as GGUF: {error}", next_step="Give a whole GGUF file."
        ) from None
    metadata: dict[str, HeaderValue] = {}
    for name, field in reader.fields.items():
        if len(field.types) == 1 and isinstance(value := field.contents(), str | int | float | bool):
            metadata[name] = value
    tokens = reader.fields.get("tokenizer.ggml.tokens")
    by_type: Counter[str] = Counter()
    for tensor in reader.tensors:
        by_type[tensor.tensor_type.name.lower()] += int(tensor.n_bytes)
    parameters = sum(int(tensor.n_elements) for tensor in reader.tensors)
    most = by_type.most_common(1)[0][0] if by_type else ""
    return Header(metadata, parameters, most, len(tokens.data) if tokens is not None else 0, dict(by_type))


def described(model: Model) -> MeasuredModel:
    """What the document says of it."""
    return MeasuredModel(
        name=model.name,
        sha256=model.weights.sha256 or "",
        quantisation=model.quantisation or "",
        weights_bytes=model.weights.size_bytes or 0,
        parameters=model.parameters or 0,
        shape=dict(model.shape),
    )
