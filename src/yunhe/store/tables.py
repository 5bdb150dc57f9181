"""Every table, gathered for migrations."""

from __future__ import annotations

from yunhe.store import tables_accounts, tables_adapt, tables_ledger, tables_pool, tables_serve
from yunhe.store.schema import METADATA

__all__ = ["METADATA", "tables_accounts", "tables_adapt", "tables_ledger", "tables_pool", "tables_serve"]
