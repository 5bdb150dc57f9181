"""What the files of a Hugging Face model say: its config.json, its tokenizer's template, its card's licence.

Pure: control and the planner read the files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from yunhe.catalogue.architecture import Architecture
from yunhe.catalogue.config_fields import ConfigFields
from yunhe.catalogue.errors import BadModelConfig, BadWeights, UnknownModelType
from yunhe.catalogue.header import CONTEXT_MAX, TEMPLATE_CHARS_MAX, WeightsFacts
from yunhe.catalogue.hf_config import architecture_of, parameters_of
from yunhe.catalogue.model import Capability
from yunhe.catalogue.safetensors import TensorTotals

#: Ends of the names of classes that write text.
_WRITES: Final = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")
_CONTEXT: Final = ("max_position_embeddings", "max_seq_len", "model_max_length", "n_positions", "seq_length")
_LAYERS: Final = ("num_hidden_layers", "num_layers", "n_layer")
#: Our name of a shape -> fields of the configuration, the first that is there.
_SHAPE: Final = {
    "layers": _LAYERS,
    "hidden_size": ("hidden_size", "n_embd"),
    "feed_forward": ("intermediate_size", "ffn_hidden_size", "n_inner"),
    "heads": ("num_attention_heads", "n_head"),
    "kv_heads": ("num_key_value_heads", "multi_query_group_num"),
    "head_size": ("head_dim", "kv_channels"),
    "vocabulary": ("vocab_size", "padded_vocab_size"),
    "experts": ("n_routed_experts", "num_local_experts", "num_experts"),
    "experts_used": ("num_experts_per_tok", "num_experts_per_token", "experts_per_token"),
}
#: Formats in which a number stands in several packed elements; what they hold is told by the configuration.
_PACKED: Final = ("U8", "I32", "U32", "I16", "U16", "I64", "U64")
_OWNED_NAME: Final = re.compile(r"[\w.-]+/[\w.-]+")
_FRONT_MATTER: Final = re.compile(r"\A\ufeff?---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_LICENCE_CHARS: Final = 100
#: A thousand times those of the largest models.
_PARAMETERS_MAX: Final = 10**16


@dataclass(frozen=True, slots=True)
class Beside:
    """What lies beside a config.json, as far as it does."""

    tokenizer_config: str = ""
    #: chat_template.jinja; it counts before the tokenizer's.
    template: str = ""
    #: README.md.
    card: str = ""
    #: Whether it is a pipeline of sentence embeddings (modules.json).
    pooled: bool = False


def config_of(text: str) -> dict[str, Any]:
    """The object in a config.json. Raises BadModelConfig."""
    found = _object(text, "config.json")
    if "model_type" not in found and "architectures" not in found:
        said = "names neither model_type nor architectures"
        if "peft_type" in found:
            said = "is an adapter's, not a model's"
        raise BadModelConfig(
            f"config.json {said}",
            next_step="Take the config.json that lies beside the model's weights.",
            fields=["model_type"],
        )
    return found


def structure_of(config: Mapping[str, object], name: str) -> Architecture:
    """What predictions need. Raises UnknownModelType, BadModelConfig."""
    plain = re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip(".-") or "model"
    found = architecture_of(config, id=plain, name=name, sources=("config.json",))
    states = max((group.state_elements or 0) for group in found.attention)
    if max(parameters_of(found)[0], states) > _PARAMETERS_MAX:
        raise BadModelConfig(
            f"config.json describes more than {_PARAMETERS_MAX:.0e} parameters",
            fields=["hidden_size, vocab_size, num_hidden_layers: out of range"],
        )
    return found


def facts_of_config(config: Mapping[str, object], name: str, beside: Beside) -> WeightsFacts:
    """A model that is known by its configuration alone. Raises UnknownModelType, BadModelConfig."""
    structure = structure_of(config, name)
    dtypes = structure.published_dtypes
    return _facts(config, beside, structure, parameters_of(structure)[0], dtypes[0] if dtypes else "")


def facts_of_weights(config: Mapping[str, object], name: str, beside: Beside, totals: TensorTotals) -> WeightsFacts:
    """A model with weights. One whose structure is not known can be served too. Raises BadModelConfig, BadWeights."""
    if not totals.tensors:
        raise BadWeights("the files hold no tensors")
    structure: Architecture | None = None
    try:
        structure = structure_of(config, name)
    except (UnknownModelType, BadModelConfig):
        # Then its plain fields must be there.
        fields = ConfigFields(config)
        for needed in ("hidden_size", "layers", "vocabulary"):
            fields.count(*_SHAPE[needed])
    dtype = totals.main_dtype
    if dtype not in _PACKED:
        return _facts(config, beside, structure, totals.elements, "int8" if dtype == "I8" else dtype.lower())
    parameters = parameters_of(structure)[0] if structure is not None else None
    return _facts(config, beside, structure, parameters, _packing(config, structure) or dtype.lower())


def _facts(
    config: Mapping[str, object],
    beside: Beside,
    structure: Architecture | None,
    parameters: int | None,
    quantisation: str,
) -> WeightsFacts:
    fields = ConfigFields(config)
    context = fields.count(*_CONTEXT)
    if context > CONTEXT_MAX:
        raise BadModelConfig(
            f"{context:,} positions are out of range", fields=[f"{_CONTEXT[0]}: at most {CONTEXT_MAX}"]
        )
    template = _template(beside)
    origin = fields.text("_name_or_path") or ""
    return WeightsFacts(
        architecture=(fields.outer_type or fields.model_type or "unknown")[:60],
        context_length=context,
        parameters=parameters,
        quantisation=quantisation,
        licence=_licence(config, beside.card),
        source=origin if _OWNED_NAME.fullmatch(origin) else "",
        title=origin.rpartition("/")[2] if _OWNED_NAME.fullmatch(origin) else "",
        capabilities=_capabilities(config, beside, template),
        chat_template=template,
        shape=_shape(fields, structure),
        structure=structure,
    )


def _shape(fields: ConfigFields, structure: Architecture | None) -> dict[str, int]:
    shape = {ours: value for ours, theirs in _SHAPE.items() if (value := fields.maybe(*theirs))}
    if structure is not None:
        caching = next((group for group in structure.attention if group.kind != "linear"), structure.attention[0])
        shape |= {"layers": structure.layers, "heads": caching.heads, "kv_heads": caching.kv_heads}
        # What a head caches: of compressed attention one vector for all heads.
        shape["head_size"] = (caching.kv_rank or 0) + (caching.rotary_size or 0) or caching.head_size
    elif shape.get("heads"):
        shape.setdefault("kv_heads", shape["heads"])
        shape.setdefault("head_size", shape.get("hidden_size", 0) // shape["heads"])
    return {name: value for name, value in shape.items() if value}


def _packing(config: Mapping[str, object], structure: Architecture | None) -> str:
    """How packed weights are quantised, as the configuration names it."""
    if structure is not None and structure.published_dtypes:
        return structure.published_dtypes[0]
    quantised = ConfigFields(config).part("quantization_config")
    return "" if quantised is None else (quantised.text("quant_method") or "").lower()[:40]


def _capabilities(config: Mapping[str, object], beside: Beside, template: str | None) -> tuple[Capability, ...]:
    """By the class that is to read the weights. Raises BadModelConfig for one that writes no text."""
    if beside.pooled:
        return ("embeddings",)
    classes = ConfigFields(config).words("architectures") or []
    readers = config.get("auto_map")
    writes = not classes or any(name.endswith(_WRITES) for name in classes)
    writes = writes or (isinstance(readers, Mapping) and "AutoModelForCausalLM" in readers)
    if not writes:
        if all(name.endswith("Model") for name in classes):
            return ("embeddings",)
        raise BadModelConfig(
            f"config.json describes a {classes[0]:.60}, which writes no text",
            next_step="Add a language model.",
            fields=["architectures"],
        )
    return ("chat", "completions") if template else ("completions",)


def _template(beside: Beside) -> str | None:
    """The chat template; of several the one named default. Raises BadModelConfig when it is longer than any in use."""
    found: object = beside.template
    if not found and beside.tokenizer_config:
        found = _object(beside.tokenizer_config, "tokenizer_config.json").get("chat_template")
    if isinstance(found, list):
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, Mapping)}
        found = named.get("default")
    if not isinstance(found, str) or not found.strip():
        return None
    if len(found) > TEMPLATE_CHARS_MAX:
        raise BadModelConfig(f"the chat template is longer than {TEMPLATE_CHARS_MAX} characters")
    return found


def _licence(config: Mapping[str, object], card: str) -> str:
    """As the model's card says it, else its configuration; "" where neither does."""
    front = _FRONT_MATTER.match(card)
    lines = front.group(1) if front else ""
    said = _scalar(lines, "license")
    if said == "other":
        said = _scalar(lines, "license_name") or said
    told = config.get("license")
    return (said or (told.strip() if isinstance(told, str) else ""))[:_LICENCE_CHARS]


def _scalar(lines: str, key: str) -> str:
    """A plain value of the top level of YAML, or the first of a list."""
    found = re.search(rf"^{key}:[ \t]*(?:\n[ \t]*-[ \t]*)?([^\n]*)$", lines, re.MULTILINE)
    if found is None:
        return ""
    return found.group(1).partition(" #")[0].strip().strip("[]").partition(",")[0].strip().strip("'\"")


def _object(text: str, name: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadModelConfig(f"{name} is not JSON: {str(error)[:100]}") from None
    if not isinstance(found, dict):
        raise BadModelConfig(f"{name} holds no object")
    return found
