"""What usage costs. One rule, for the gateway's holds and for the ledger's postings."""

from __future__ import annotations

from collections.abc import Iterable

from yunhe.core.units import TOKENS_PER_PRICE_UNIT
from yunhe.ledger.model import Price


def cost_micro(
    prompt_tokens: int, completion_tokens: int, input_micro_per_mtok: int, output_micro_per_mtok: int
) -> int:
    """Micro-credits for the tokens, rounded up once over both kinds; tokens from the cache cost as input."""
    total = prompt_tokens * input_micro_per_mtok + completion_tokens * output_micro_per_mtok
    return -(-total // TOKENS_PER_PRICE_UNIT)


def price_in_force(prices: Iterable[Price], model: str, at: float) -> Price | None:
    """The model's price at a time: the last to take effect, of several at one moment the one made last."""
    candidates = [price for price in prices if price.model == model and price.effective_from <= at]
    return max(candidates, key=lambda price: (price.effective_from, price.id), default=None)
