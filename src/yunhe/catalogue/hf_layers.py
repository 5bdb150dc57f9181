"""Attention of each layer as a Hugging Face config.json tells it.

Field names and what a silent field means are those of the library that reads these files (transformers) and, for
newer models, of the modelling code published beside their weights.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal

from msgspec import Struct, structs

from yunhe.catalogue.architecture import Attention
from yunhe.catalogue.config_fields import ConfigFields
from yunhe.catalogue.errors import BadModelConfig
from yunhe.catalogue.parameters import plain_attention_parameters

Kind = Literal["full", "window", "linear", "dense", "experts"]

_LAYER_TYPES: Final[dict[str, Kind]] = {
    "full_attention": "full",
    "attention": "full",
    "deepseek_sparse_attention": "full",
    "sliding_attention": "window",
    "chunked_attention": "window",
    "linear_attention": "linear",
    "mamba": "linear",
    "mlp": "dense",
    "moe": "experts",
}
#: Ten times those of the deepest models.
_LAYERS_MAX: Final = 10_000
#: One letter a block, in hybrids whose attention and feed-forward parts are layers of their own.
_BLOCK_LETTERS: Final[dict[str, Kind]] = {"*": "full", "M": "linear", "-": "dense", "E": "experts"}


class ModelType(Struct, frozen=True, forbid_unknown_fields=True):
    """What a config.json of this ``model_type`` means where it is silent."""

    family: str
    #: The output matrix is the embedding's.
    tied: bool = False
    #: Where windows are: ``all`` layers, every layer ``but_every``-th one, ``off`` unless layers are listed.
    windows: Literal["off", "all", "but_every"] = "off"
    but_every: int = 0
    #: Queries come with a gate as wide as the attention's output.
    gated: bool = False
    #: Matrices of a feed-forward part.
    matrices: Literal[2, 3] = 3
    #: Experts that every token passes.
    shared_experts: int = 0
    #: One cached vector for all heads, of some positions at once.
    compressed: bool = False


def layer_kinds(fields: ConfigFields, rules: ModelType) -> list[Kind]:
    """Layer by layer; blocks with a feed-forward part only are listed as such. Raises BadModelConfig."""
    letters = fields.text("hybrid_override_pattern")
    if letters is not None:
        return [_named(letter, _BLOCK_LETTERS, "hybrid_override_pattern") for letter in letters]
    blocks = fields.words("layers_block_type")
    if blocks is not None:
        return [_named(block, _LAYER_TYPES, "layers_block_type") for block in blocks]
    layers = fields.count("num_hidden_layers", "num_layers", "n_layer")
    if layers > _LAYERS_MAX:
        raise BadModelConfig(
            f"config.json describes {layers:,} layers", fields=[f"num_hidden_layers: at most {_LAYERS_MAX}"]
        )
    listed = fields.words("layer_types")
    if listed is not None:
        return _all_of([_named(name, _LAYER_TYPES, "layer_types") for name in listed], layers, "layer_types")
    return _numbered(fields, layers) or _by_rule(fields, rules, layers)


def _numbered(fields: ConfigFields, layers: int) -> list[Kind] | None:
    windows = fields.counts("hybrid_layer_pattern")
    if windows is not None:
        return _all_of(["window" if mark else "full" for mark in windows], layers, "hybrid_layer_pattern")
    full = fields.counts("attn_type_list")
    if full is not None:
        return _all_of(["full" if mark else "linear" for mark in full], layers, "attn_type_list")
    linear = fields.part("linear_attn_config")
    if linear is not None:
        # Counted from 1.
        kept = set(linear.counts("full_attn_layers") or [])
        return ["full" if number in kept else "linear" for number in range(1, layers + 1)]
    every = fields.maybe("full_attention_interval")
    return ["linear" if number % every else "full" for number in range(1, layers + 1)] if every else None


def _by_rule(fields: ConfigFields, rules: ModelType, layers: int) -> list[Kind]:
    window = _window(fields)
    if window is None or not fields.flag("use_sliding_window", default=True):
        return ["full"] * layers
    if rules.windows == "all" and window < (fields.maybe("max_position_embeddings") or 0):
        return ["window"] * layers
    if rules.windows == "but_every":
        every = fields.maybe("sliding_window_pattern", "_sliding_window_pattern") or rules.but_every
        return ["window" if number % every else "full" for number in range(1, layers + 1)]
    return ["full"] * layers


def _named(name: str, names: dict[str, Kind], field: str) -> Kind:
    if name not in names:
        raise BadModelConfig(
            f"{field} in config.json names a kind of layer that is not known: {name!r:.40}",
            fields=[f"{field}: one of {', '.join(names)}"],
        )
    return names[name]


def _all_of(kinds: list[Kind], layers: int, field: str) -> list[Kind]:
    """The first ``layers``; lists may go on with layers of a prediction head."""
    if len(kinds) < layers:
        raise BadModelConfig(
            f"{field} in config.json lists {len(kinds)} layers, the model has {layers}", fields=[f"{field}: too short"]
        )
    return kinds[:layers]


def _window(fields: ConfigFields) -> int | None:
    return fields.maybe("sliding_window", "sliding_window_size", "attention_chunk_size")


def attention_groups(fields: ConfigFields, rules: ModelType, kinds: list[Kind]) -> tuple[Attention, ...]:
    """Layers that are alike as one group, in the order in which they first come. Raises BadModelConfig."""
    blocks = fields.parts("block_configs")
    hidden = fields.count("hidden_size")
    found: Counter[Attention] = Counter()
    for number, kind in enumerate(kinds):
        if blocks is not None:
            layer = _searched(fields, blocks[number])
        elif kind == "linear":
            layer = _linear(fields)
        elif kind == "window":
            layer = _windowed(fields)
        else:
            layer = _whole(fields, rules, number) if kind == "full" else None
        if layer is not None:
            found[layer] += 1
    return tuple(structs.replace(_exact(group, hidden), layers=count) for group, count in found.items())


def _exact(group: Attention, hidden: int) -> Attention:
    """Without ``parameters`` where the sizes give the same."""
    same = group.parameters == plain_attention_parameters(group, hidden)
    return structs.replace(group, parameters=None) if same else group


def _heads(fields: ConfigFields) -> tuple[int, int, int]:
    """Heads, heads with keys and values of their own, and a head's size."""
    heads = fields.count("num_attention_heads", "n_head")
    size = fields.maybe("head_dim", "attention_head_dim")
    if not size:
        size = fields.count("hidden_size") // heads
    return heads, fields.maybe("num_key_value_heads", "num_attention_groups") or heads, size


def _whole(fields: ConfigFields, rules: ModelType, number: int) -> Attention:
    if rules.compressed:
        return _compressed(fields, number)
    if fields.has("kv_lora_rank"):
        return _latent(fields, number)
    heads, kv_heads, size = _heads(fields)
    size = fields.maybe("global_head_dim") or size
    kv_heads = fields.maybe("num_global_key_value_heads") or kv_heads
    values = fields.maybe("v_head_dim") or size
    plain = Attention(kind="full", layers=1, heads=heads, kv_heads=kv_heads, head_size=size, value_head_size=values)
    hidden = fields.count("hidden_size")
    parameters = plain_attention_parameters(plain, hidden)
    if fields.flag("attn_output_gate", default=rules.gated):
        parameters += hidden * heads * values
    if fields.flag("attention_k_eq_v", default=False):
        parameters -= hidden * kv_heads * size
    return _by_blocks(fields, structs.replace(plain, parameters=parameters), number)


def _by_blocks(fields: ConfigFields, plain: Attention, number: int) -> Attention:
    """With a choice of blocks of positions, where the configuration says that this layer makes one."""
    sparse = fields.part("sparse_attention_config")
    if sparse is None or not sparse.flag("use_sparse_attention", default=True):
        return plain
    marks = sparse.counts("sparse_attention_freq")
    if marks is not None and not (number < len(marks) and marks[number]):
        return plain
    heads, size = sparse.count("sparse_num_index_heads"), sparse.count("sparse_index_dim")
    return structs.replace(
        plain,
        chosen_positions=sparse.count("sparse_topk_blocks") * sparse.count("sparse_block_size"),
        indexer_heads=heads,
        indexer_head_size=size,
        parameters=(plain.parameters or 0) + fields.count("hidden_size") * (heads + 1) * size,
    )


def _windowed(fields: ConfigFields) -> Attention:
    heads, kv_heads, size = _heads(fields)
    heads = fields.maybe("swa_num_attention_heads") or heads
    size = fields.maybe("swa_head_dim") or size
    window = _window(fields)
    if not window:
        raise BadModelConfig(
            "config.json has layers with a window but does not say how long it is",
            fields=["sliding_window: a whole number above 0"],
        )
    return Attention(
        kind="window",
        layers=1,
        heads=heads,
        kv_heads=fields.maybe("swa_num_key_value_heads") or kv_heads,
        head_size=size,
        value_head_size=fields.maybe("swa_v_head_dim", "v_head_dim") or size,
        window=window,
    )


def _latent(fields: ConfigFields, number: int) -> Attention:
    heads = fields.count("num_attention_heads")
    rotary = fields.count("qk_rope_head_dim")
    values = fields.maybe("v_head_dim") or fields.count("qk_nope_head_dim")
    plain = Attention(
        kind="mla",
        layers=1,
        heads=heads,
        kv_heads=1,
        head_size=fields.count("qk_nope_head_dim") + rotary,
        value_head_size=values,
        query_rank=fields.maybe("q_lora_rank") or None,
        kv_rank=fields.count("kv_lora_rank"),
        rotary_size=rotary,
        chosen_positions=fields.maybe("index_topk"),
    )
    hidden = fields.count("hidden_size")
    parameters = plain_attention_parameters(plain, hidden)
    if fields.flag("mla_use_output_gate", default=False):
        parameters += hidden * heads * values
    shares = fields.words("indexer_types")
    if plain.chosen_positions is None or (shares is not None and shares[number : number + 1] == ["shared"]):
        return structs.replace(plain, parameters=parameters)
    own, size = fields.count("index_n_heads"), fields.count("index_head_dim")
    parameters += (plain.query_rank or hidden) * own * size + hidden * (size + own)
    return structs.replace(plain, indexer_heads=own, indexer_head_size=size, parameters=parameters)


def _compressed(fields: ConfigFields, number: int) -> Attention:
    """One vector serves as key and value of all heads; beyond a window it stands for several positions."""
    ratios = fields.counts("compress_ratios")
    if ratios is None or number >= len(ratios):
        raise BadModelConfig("compress_ratios in config.json does not name every layer", fields=["compress_ratios"])
    ratio, hidden, heads = ratios[number], fields.count("hidden_size"), fields.count("num_attention_heads")
    size, rotary, rank = fields.count("head_dim"), fields.count("qk_rope_head_dim"), fields.count("q_lora_rank")
    groups, output_rank = fields.count("o_groups"), fields.count("o_lora_rank")
    parameters = rank * (hidden + heads * size) + hidden * size + output_rank * (heads * size + groups * hidden)
    window = fields.count("sliding_window")
    if not ratio:
        return Attention(
            kind="window",
            layers=1,
            heads=heads,
            kv_heads=1,
            head_size=size,
            value_head_size=size,
            window=window,
            parameters=parameters,
        )
    # The finest ratio chooses among its vectors; its vectors overlap, so they take twice the projections.
    chooses = ratio == min(filter(None, ratios))
    own, key = (fields.count("index_n_heads"), fields.count("index_head_dim")) if chooses else (None, None)
    parameters += hidden * size * (4 if chooses else 2)
    if own is not None and key is not None:
        parameters += rank * own * key + hidden * (own + 4 * key)
    return Attention(
        kind="mla",
        layers=1,
        heads=heads,
        kv_heads=1,
        head_size=size,
        value_head_size=size,
        query_rank=rank,
        kv_rank=size - rotary,
        rotary_size=rotary,
        window=window,
        compression=ratio,
        chosen_positions=fields.count("index_topk") if chooses else None,
        indexer_heads=own,
        indexer_head_size=key,
        parameters=parameters,
    )


def _linear(fields: ConfigFields) -> Attention:
    """State of fixed size: a matrix for each head, and the last inputs of a short convolution."""
    part = fields.part("linear_attn_config")
    if fields.has("linear_num_value_heads"):
        heads, groups = fields.count("linear_num_value_heads"), fields.count("linear_num_key_heads")
        keys, values = fields.count("linear_key_head_dim"), fields.count("linear_value_head_dim")
        kernel = fields.maybe("linear_conv_kernel_dim")
        inputs = 2 * groups * keys + heads * values
    elif fields.has("mamba_num_heads"):
        heads, groups = fields.count("mamba_num_heads"), fields.count("n_groups")
        keys, values = fields.count("ssm_state_size"), fields.count("mamba_head_dim")
        kernel = fields.maybe("conv_kernel")
        inputs = 2 * groups * keys + heads * values
    elif part is not None:
        heads = groups = part.count("num_heads")
        keys = values = part.count("head_dim")
        kernel = part.maybe("short_conv_kernel_size")
        inputs = 3 * heads * keys
    else:
        heads, _, keys = _heads(fields)
        groups, values, kernel, inputs = heads, keys, None, 0
    plain = Attention(
        kind="linear",
        layers=1,
        heads=heads,
        kv_heads=groups,
        head_size=keys,
        value_head_size=values,
        state_elements=heads * keys * values + inputs * max(0, (kernel or 1) - 1),
    )
    if part is None or part.flag("use_full_rank_gate", default=False):
        return plain
    # Its gate is factored, as is its decay.
    hidden, width = fields.count("hidden_size"), heads * values
    return structs.replace(plain, parameters=4 * hidden * width + 2 * keys * (hidden + width))


def _searched(fields: ConfigFields, block: ConfigFields) -> Attention | None:
    """A layer that a search pruned: with its own number of key heads, or without attention."""
    attention = block.part("attention")
    if attention is None or attention.flag("no_op", default=False):
        return None
    if attention.flag("replace_with_linear", default=False):
        raise BadModelConfig(
            "config.json replaces attention by one matrix, which is not known here", fields=["block_configs"]
        )
    heads, _, size = _heads(fields)
    kv_heads = heads // attention.count("n_heads_in_group")
    return Attention(kind="full", layers=1, heads=heads, kv_heads=kv_heads, head_size=size, value_head_size=size)
