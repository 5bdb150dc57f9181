"""How many parameters an architecture has. Matrices are counted; norms and biases, below a thousandth, are not."""

from __future__ import annotations

from typing import Final

from yunhe.catalogue.architecture import Architecture, Attention, Experts

#: A count that is further from the published one means that a configuration was misread.
TOLERANCE: Final = 0.03


def plain_attention_parameters(group: Attention, hidden_size: int) -> int:
    """Of one layer, as its sizes give them: projections of queries, keys and values, and of the output."""
    keys, values = group.heads * group.head_size, group.heads * group.value_head_size
    if group.kind == "mla":
        kv_rank, rotary = group.kv_rank or 0, group.rotary_size or 0
        rank = group.query_rank
        queries = hidden_size * keys if rank is None else rank * (hidden_size + keys)
        expand = kv_rank * group.heads * (group.head_size - rotary + group.value_head_size)
        return queries + hidden_size * (kv_rank + rotary) + expand + values * hidden_size
    if group.kind == "linear":
        # Queries, keys, values, a gate as wide as the values, and the output.
        return hidden_size * (2 * group.kv_heads * group.head_size + 3 * values)
    return hidden_size * (keys + group.kv_heads * (group.head_size + group.value_head_size) + values)


def attention_parameters(group: Attention, hidden_size: int) -> int:
    """Of one layer: what the record says, else what its sizes give."""
    return group.parameters or plain_attention_parameters(group, hidden_size)


def expert_parameters(architecture: Architecture) -> int:
    """Of one expert in one layer; 0 without experts."""
    experts = architecture.experts
    if experts is None:
        return 0
    return (
        architecture.feed_forward_matrices
        * (experts.latent_size or architecture.hidden_size)
        * experts.intermediate_size
    )


def parameters_of(architecture: Architecture) -> tuple[int, int]:
    """All parameters, and those that one token uses: all without the experts that it does not choose.

    Embedding and output matrix count in both; heads for speculation count in neither.
    """
    hidden = architecture.hidden_size
    ends = hidden * architecture.vocabulary * (1 if architecture.tied_embeddings else 2)
    attention = sum(group.layers * attention_parameters(group, hidden) for group in architecture.attention)
    dense = architecture.dense_layers * architecture.feed_forward_matrices * hidden * architecture.intermediate_size
    always = ends + attention + dense
    experts = architecture.experts
    if experts is None:
        return always, always
    always += experts.layers * _beside_experts(architecture, experts)
    one = experts.layers * expert_parameters(architecture)
    return always + experts.experts * one, always + experts.used * one


def _beside_experts(architecture: Architecture, experts: Experts) -> int:
    """Of one layer with experts: what every token passes there. Router, shared experts, projections to the latent."""
    hidden = architecture.hidden_size
    shared = architecture.feed_forward_matrices * hidden * experts.shared_intermediate_size
    latent = 2 * hidden * experts.latent_size if experts.latent_size else 0
    return hidden * experts.experts + shared + latent


def parameter_problems(architecture: Architecture) -> list[str]:
    """Sentences on published counts that the shape does not give; empty when all agree.

    The total must agree within ``TOLERANCE``. A published active count is often rounded to whole milliards and may
    leave out embedding or output matrix, so it must lie within ``TOLERANCE`` and half a milliard of a count with or
    without these.
    """
    total, active = parameters_of(architecture)
    found = []
    published = architecture.parameters
    if published is not None and abs(total - published) > TOLERANCE * published:
        found.append(f"{architecture.id}: {total:,} parameters by its shape, {published:,} published")
    published = architecture.active_parameters
    if published is not None:
        slack = TOLERANCE * published + 5e8
        ends = architecture.hidden_size * architecture.vocabulary * (1 if architecture.tied_embeddings else 2)
        if not active - ends - slack <= published <= active + slack:
            found.append(f"{architecture.id}: {active:,} parameters a token by its shape, {published:,} published")
    return found
