"""What usage costs. One rule, for the gateway's holds and for the ledger's postings."""

from __future__ import annotations

from yunhe.core.units import TOKENS_PER_PRICE_UNIT


def cost_micro(
    prompt_tokens: int, completion_tokens: int, input_micro_per_mtok: int, output_micro_per_mtok: int
) -> int:
    """Micro-credits for the tokens, rounded up once over both kinds; tokens from the cache cost as input."""
    total = prompt_tokens * input_micro_per_mtok + completion_tokens * output_micro_per_mtok
    return -(-total // TOKENS_PER_PRICE_UNIT)
