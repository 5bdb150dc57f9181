"""How an entry lies in its table: one row from one account to another, balanced by its very shape."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from yunhe.ledger.model import Entry, Posting


def row_of(entry: Entry) -> dict[str, Any]:
    """An entry of two postings as one transfer. Raises ValueError when it is not balanced."""
    if len(entry.postings) != 2 or sum(posting.amount_micro for posting in entry.postings) != 0:
        raise ValueError(f"entry {entry.reference} is not two balanced postings")
    payer, payee = sorted(entry.postings, key=lambda posting: posting.amount_micro)
    return {
        "id": entry.id,
        "kind": entry.kind,
        "reference": entry.reference,
        "created_at": entry.created_at,
        "memo": entry.memo,
        "from_account": payer.account,
        "to_account": payee.account,
        "amount_micro": payee.amount_micro,
    }


def entry_of(row: Row[Any]) -> Entry:
    """The entry back."""
    postings = (Posting(row.from_account, -row.amount_micro), Posting(row.to_account, row.amount_micro))
    return Entry(row.id, row.kind, row.reference, row.created_at, postings, row.memo)
