"""Ideal seconds of a decode step and of a prefill by cause, before any efficiency: bytes over bandwidth, operations
over peak, messages over links.

Roofline: Williams, Waterman, Patterson, CACM 52 (4), 2009. Experts that a batch touches: E*(1-(1-k/E)^T), the expected
number of distinct ones when each of T tokens draws k of E. A ring all-reduce moves 2*(n-1)/n of the message over each
card's link (Patarasuk, Yuan, JPDC 69, 2009); a layer has two.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from msgspec import Struct

from yunhe.adapt.points import Column, Columns

_ACTIVATION_BYTES: Final = 2.0
_COLLECTIVES_A_LAYER: Final = 2.0


class Terms(Struct, frozen=True):
    """Arrays of seconds for one card of the instance, and counts that overheads go by."""

    #: Decode step: reading plain weights, experts' weights, the cache; computing; messages.
    weights_s: Column
    experts_s: Column
    cache_s: Column
    compute_s: Column
    messages_s: Column
    #: Prefill of one request: computing; messages.
    prefill_compute_s: Column
    prefill_messages_s: Column
    #: Collectives of a step, layers, layers with experts, sequences.
    collectives: Column
    layers: Column
    expert_layers: Column
    sequences: Column


def terms(of: Columns) -> Terms:
    """All configurations at once."""
    f, chip = of.features, of.chip
    tp, dp, pp = of.tensor_parallel, of.data_parallel, of.pipeline_parallel
    cards = tp * dp
    # Stages of a pipeline work on their own share of the requests in turn: a token passes all of them.
    batch = of.concurrency / pp
    local = batch / dp
    context = of.input_tokens + of.output_tokens / 2
    bandwidth = chip["bandwidth_bytes_per_s"]

    # Drafts pass the model beside the tokens that they follow: they compute, and they touch experts.
    positions = 1 + of.drafted_tokens
    touched = f["experts"] * (1 - (1 - f["experts_used"] / f["experts"]) ** (batch * positions))
    ffn = (f["dense"] + f["shared"]) * of.dense_bytes
    weights = (f["attention"] * of.attention_bytes + ffn + f["head"] * _ACTIVATION_BYTES) / tp
    experts = f["expert_layers"] * touched * f["expert"] * of.expert_bytes / cards
    cache = local * of.cache_bytes * _cache_elements(of, context)

    always = f["always"]
    routed = f["expert_layers"] * f["experts_used"] * f["expert"]
    compute = 2 * local * (always + f["head"]) / tp / chip["attention_flops"]
    compute = compute + 2 * batch * routed / cards / chip["expert_flops"]
    compute = positions * (compute + local * _decode_pairs(of, context) / tp / chip["pair_flops"])

    several = cards > 1
    share = np.where(several, 2 * (cards - 1) / cards, 0.0)
    message = _COLLECTIVES_A_LAYER * f["layers"] * f["hidden_size"] * _ACTIVATION_BYTES * share
    prompt = of.input_tokens - of.cached_tokens
    prefill = 2 * prompt * (always / chip["attention_flops"] / tp + routed / chip["expert_flops"] / cards)
    prefill = prefill + prompt * _prefill_pairs(of, of.cached_tokens + prompt / 2) / tp / chip["pair_flops"]
    return Terms(
        weights_s=weights / bandwidth,
        experts_s=experts / bandwidth,
        cache_s=cache / bandwidth,
        compute_s=compute,
        messages_s=message * local * positions / chip["link_bytes_per_s"],
        prefill_compute_s=prefill,
        prefill_messages_s=message * prompt / chip["link_bytes_per_s"],
        collectives=np.where(several, _COLLECTIVES_A_LAYER * f["layers"], 0.0),
        layers=f["layers"],
        expert_layers=f["expert_layers"],
        sequences=local,
    )


def _cache_elements(of: Columns, context: Column) -> Column:
    """Elements of one sequence's cache that one card reads for one token."""
    f = of.features
    split = np.minimum(of.tensor_parallel, f["kv_heads"])
    read: Column = (
        (f["cache_full"] * context + f["cache_window"] * np.minimum(context, f["window"])) / split
        + f["cache_latent"] * np.minimum(context, f["chosen"])
        # Keys of an indexer are kept in half the bytes.
        + f["indexer_cache"] / 2 * context
        # A state is read and written.
        + 2 * f["state"] / of.tensor_parallel
    )
    return read


def _decode_pairs(of: Columns, context: Column) -> Column:
    f = of.features
    pairs: Column = (
        f["pair_full"] * context
        + f["pair_window"] * np.minimum(context, f["window"])
        + f["pair_latent_decode"] * np.minimum(context, f["chosen"])
        + f["indexer_pair"] * context
        + f["state_operations"]
    )
    return pairs


def _prefill_pairs(of: Columns, before: Column) -> Column:
    """Operations of one prompt token that looks at the positions ``before`` it: half of the prompt on average."""
    f = of.features
    pairs: Column = (
        f["pair_full"] * before
        + f["pair_window"] * np.minimum(before, f["window"])
        + f["pair_latent_prefill"] * np.minimum(before, f["chosen"])
        + f["indexer_pair"] * before
        + f["state_operations"]
    )
    return pairs
