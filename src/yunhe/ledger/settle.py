"""From usage records to balanced entries: who pays what to whom.

Every entry has two postings: the project's account pays, the model's revenue account receives. Credit given to a
project comes from the issuance account, whose negative balance is therefore all credit ever issued.
"""

from __future__ import annotations

from typing import Final

from yunhe.ledger.model import Entry, Posting, Price
from yunhe.ledger.pricing import cost_micro
from yunhe.ledger.usage import UsageRecord

ISSUANCE: Final = "issuance"


def project_account(project_id: str) -> str:
    """The account that a project pays from."""
    return f"project:{project_id}"


def revenue_account(model: str) -> str:
    """The account that a model's income goes to."""
    return f"revenue:{model}"


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
    return _transfer(
        entry_id,
        kind="usage",
        reference=record.request_id,
        now=now,
        payer=project_account(record.project_id),
        payee=revenue_account(record.model),
        amount_micro=cost,
        memo="",
    )


def credit_entry(entry_id: str, project_id: str, amount_micro: int, reference: str, memo: str, now: float) -> Entry:
    """The entry that gives credit to a project, or takes it back when the amount is negative.

    Raises ValueError for zero.
    """
    if amount_micro == 0:
        raise ValueError("an entry of nothing")
    account = project_account(project_id)
    payer, payee = (ISSUANCE, account) if amount_micro > 0 else (account, ISSUANCE)
    return _transfer(
        entry_id,
        kind="credit",
        reference=reference,
        now=now,
        payer=payer,
        payee=payee,
        amount_micro=abs(amount_micro),
        memo=memo,
    )


def _transfer(
    entry_id: str, *, kind: str, reference: str, now: float, payer: str, payee: str, amount_micro: int, memo: str
) -> Entry:
    postings = (Posting(payer, -amount_micro), Posting(payee, amount_micro))
    return Entry(entry_id, kind, reference, now, postings, memo)
