"""Architectures out of a Hugging Face config.json."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Final

import msgspec

from yunhe.catalogue.architecture import Architecture, Experts
from yunhe.catalogue.config_fields import ConfigFields
from yunhe.catalogue.errors import BadModelConfig, UnknownModelType
from yunhe.catalogue.hf_layers import Kind, ModelType, attention_groups, layer_kinds
from yunhe.catalogue.parameters import parameters_of

__all__ = ["architecture_of", "model_types", "parameters_of"]

_EXPERTS: Final = ("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts")
_USED: Final = ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "top_k_experts", "moe_top_k")
_DTYPES: Final = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
#: A searched model's feed-forward parts are rounded up to this.
_SEARCHED_MULTIPLE: Final = 256


@lru_cache(maxsize=1)
def model_types() -> dict[str, ModelType]:
    """What is known, by ``model_type``: the package's table."""
    data = files("yunhe.catalogue").joinpath("data", "hf_model_types.json").read_bytes()
    return msgspec.json.decode(data, type=dict[str, ModelType])


def architecture_of(config: Mapping[str, object], *, id: str, name: str, sources: tuple[str, ...]) -> Architecture:
    """The text model that this config.json describes (of a multimodal model its text part).

    ``sources`` are keys of the file that the record goes into. Raises UnknownModelType, and BadModelConfig with the
    field that is missing, wrong or contradicts another.
    """
    fields = ConfigFields(config)
    rules = _rules(fields)
    if fields.maybe("hidden_size_per_layer_input"):
        raise BadModelConfig(
            "config.json has embeddings for every layer, which this catalogue cannot count",
            next_step="Describe this model by hand: an entry in the catalogue's file of its family.",
            fields=["hidden_size_per_layer_input: 0"],
        )
    kinds = layer_kinds(fields, rules)
    experts, dense_layers, intermediate_size = _feed_forward(fields, rules, kinds)
    heads_of_prediction = fields.maybe("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules")
    found = Architecture(
        id=id,
        name=name,
        family=rules.family,
        hidden_size=fields.count("hidden_size", "n_embd"),
        vocabulary=fields.count("vocab_size"),
        context_length=fields.count("max_position_embeddings", "max_seq_len", "model_max_length", "n_positions"),
        attention=attention_groups(fields, rules, kinds),
        dense_layers=dense_layers,
        intermediate_size=intermediate_size,
        experts=experts,
        tied_embeddings=fields.flag("tie_word_embeddings", default=rules.tied),
        feed_forward_matrices=rules.matrices,
        sources=sources,
        published_dtypes=_dtypes(fields),
        prediction_layers=heads_of_prediction or 0,
    )
    if not found.attention:
        raise BadModelConfig("config.json describes no layer with attention or a state", fields=["num_hidden_layers"])
    return found


def _rules(fields: ConfigFields) -> ModelType:
    known = model_types()
    said = [kind for kind in (fields.model_type, fields.outer_type) if kind]
    if not said:
        raise UnknownModelType(
            "config.json has no model_type", next_step="Take the config.json that lies beside the model's weights."
        )
    for kind in said:
        if kind in known:
            return known[kind]
    near = difflib.get_close_matches(said[0], known, n=3)
    raise UnknownModelType(
        f"models of type {said[0]!r:.60} are not known", model_type=said[0][:60], known=near or sorted(known)
    )


def _feed_forward(fields: ConfigFields, rules: ModelType, kinds: list[Kind]) -> tuple[Experts | None, int, int]:
    """Experts, layers with a plain feed-forward part, and the inner size of these."""
    blocks = fields.parts("block_configs")
    if blocks is not None:
        return None, *_searched(fields, blocks)
    plain_size = fields.maybe("dense_intermediate_size", "intermediate_size_mlp", "intermediate_size") or 0
    apart = "dense" in kinds or "experts" in kinds
    own_layers = kinds.count("dense") if apart else len(kinds)
    number = fields.maybe(*_EXPERTS)
    if not number or not fields.flag("enable_moe_block", default=True):
        if own_layers and not plain_size:
            raise BadModelConfig("config.json does not say intermediate_size", fields=["intermediate_size"])
        return None, own_layers, plain_size
    layers = kinds.count("experts") if apart else sum(_expert_layers(fields, len(kinds)))
    size = fields.count("moe_intermediate_size", "expert_intermediate_size", "intermediate_size")
    if not layers:
        return None, own_layers, plain_size
    used = fields.count(*_USED)
    if used > number:
        raise BadModelConfig(f"a token uses {used} experts of {number}", fields=[f"{_USED[0]}: at most {number}"])
    experts = Experts(
        layers=layers,
        experts=number,
        used=used,
        intermediate_size=size,
        latent_size=fields.maybe("moe_latent_size", "routed_expert_hidden_size"),
        shared_intermediate_size=_shared(fields, rules, size),
    )
    # With enable_moe_block a layer has both.
    dense = own_layers if apart or fields.has("enable_moe_block") else own_layers - layers
    return experts, dense, plain_size if dense else 0


def _expert_layers(fields: ConfigFields, layers: int) -> list[bool]:
    """Layer by layer, whether it has experts. Raises BadModelConfig."""
    listed = fields.words("mlp_layer_types")
    marks = [kind == "sparse" for kind in listed] if listed is not None else fields.counts("moe_layer_freq")
    if marks is not None:
        if len(marks) < layers:
            raise BadModelConfig(
                f"config.json marks experts in {len(marks)} layers of {layers}", fields=["moe_layer_freq"]
            )
        return [bool(mark) for mark in marks[:layers]]
    first = fields.maybe("first_k_dense_replace") or 0
    every = fields.maybe("moe_layer_freq") or 1
    step = fields.maybe("decoder_sparse_step", "interleave_moe_layer_step") or 1
    without = set(fields.counts("mlp_only_layers") or [])
    return [
        number >= first and number % every == 0 and (number + 1) % step == 0 and number not in without
        for number in range(layers)
    ]


def _shared(fields: ConfigFields, rules: ModelType, size: int) -> int:
    told = fields.maybe("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size", "share_expert_dim")
    if told is None and not fields.has("n_shared_experts"):
        told = fields.maybe("shared_intermediate_size")
    if told is not None:
        return told
    shared = fields.maybe("n_shared_experts", "num_shared_experts")
    return (rules.shared_experts if shared is None else shared) * size


def _searched(fields: ConfigFields, blocks: list[ConfigFields]) -> tuple[int, int]:
    """Layers with a feed-forward part, and the mean of their inner sizes: a search gave each its own."""
    sizes = []
    for block in blocks:
        part = block.part("ffn")
        if part is None or part.flag("no_op", default=False):
            continue
        if part.flag("replace_with_linear", default=False):
            raise BadModelConfig(
                "config.json replaces a feed-forward part by one matrix, which is not known here",
                fields=["block_configs"],
            )
        size = int(2 * part.ratio("ffn_mult") * fields.count("hidden_size") / 3)
        sizes.append(-(-size // _SEARCHED_MULTIPLE) * _SEARCHED_MULTIPLE)
    return len(sizes), round(sum(sizes) / len(sizes)) if sizes else 0


def _dtypes(fields: ConfigFields) -> tuple[str, ...]:
    """The format of this checkpoint's weights, as far as it says."""
    quantised = fields.part("quantization_config")
    if quantised is not None:
        said = (quantised.text("quant_algo") or quantised.text("quant_method") or "").lower()
        for name in ("nvfp4", "mxfp4", "fp8"):
            if name in said:
                return (name,)
    wide = fields.text("torch_dtype") or fields.text("dtype")
    return (_DTYPES.get(wide, wide),) if wide and quantised is None else ()
