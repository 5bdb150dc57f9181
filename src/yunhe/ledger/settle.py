"""From usage records to balanced entries: who pays what to whom.

Every entry has two postings: the project's account pays, the model's revenue account receives.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from yunhe.ledger.account import project_account, revenue_account
from yunhe.ledger.model import Entry, Posting, Price
from yunhe.ledger.pricing import cost_micro
from yunhe.ledger.usage import UsageRecord

#: Kind of the entries made here; their reference is the request id.
USAGE: Final = "usage"
#: No request has more tokens than this; a count beyond it is a fault of the server that told it.
TOKENS_MAX: Final = 10**9


def bounded(record: UsageRecord) -> UsageRecord:
    """The record with impossible counts (negative, absurd, more cached than sent) brought into their range.

    Counts come from engines' servers, some of them not ours. One wrong record must neither create credit nor keep all
    that follow it from being stored.
    """
    prompt = min(max(record.prompt_tokens, 0), TOKENS_MAX)
    cached = min(max(record.cached_tokens, 0), prompt)
    completion = min(max(record.completion_tokens, 0), TOKENS_MAX)
    if (prompt, cached, completion) == (record.prompt_tokens, record.cached_tokens, record.completion_tokens):
        return record
    return replace(record, prompt_tokens=prompt, cached_tokens=cached, completion_tokens=completion)


def cost_of(record: UsageRecord, price: Price | None) -> int:
    """What a record costs, micro-credits; nothing without a price."""
    if price is None:
        return 0
    return cost_micro(
        record.prompt_tokens, record.completion_tokens, price.input_micro_per_mtok, price.output_micro_per_mtok
    )


def usage_entry(entry_id: str, record: UsageRecord, cost: int, now: float) -> Entry | None:
    """The entry of a usage record; None when it costs nothing."""
    if cost == 0:
        return None
    postings = (
        Posting(project_account(record.project_id), -cost),
        Posting(revenue_account(record.model), cost),
    )
    return Entry(entry_id, USAGE, record.request_id, now, postings)
