"""Names of the ledger's accounts.

An account's balance is the sum of its postings. A project's is the credit that it has left; all others are
counterparts: where credit came from, and where it went.
"""

from __future__ import annotations

from typing import Final

_PROJECT: Final = "project:"
#: Counterpart of every credit that was given to a project (or taken back).
ISSUED: Final = "issued"


def project_account(project_id: str) -> str:
    """Account of a project's credit."""
    return _PROJECT + project_id


def project_of(account: str) -> str | None:
    """The project whose credit the account holds; None for the counterparts."""
    return account[len(_PROJECT) :] if account.startswith(_PROJECT) else None


def revenue_account(model: str) -> str:
    """Account of what the usage of a model earned."""
    return f"revenue:{model}"
