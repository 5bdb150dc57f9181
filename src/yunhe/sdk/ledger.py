"""Usage, balances and the books. Amounts are integer micro-credits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from pydantic import Field

from yunhe.sdk.records import Record, Time
from yunhe.sdk.transport import Transport, segment

GroupBy = Literal["model", "key", "day", "hour"]


class Totals(Record):
    """Sums over usage records."""

    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_micro: int
    errors: int


class UsageGroup(Totals):
    """Totals of one model, key, day or hour."""

    key: str
    name: str


class Usage(Record):
    """Usage of a project in [since, to); on the wire ``since`` is called ``from``."""

    since: Time = Field(alias="from")
    to: Time
    total: Totals
    groups: list[UsageGroup]


class UsageRecord(Record):
    """What one request used, and what it cost."""

    request_id: str
    project_id: str
    key_id: str
    model: str
    endpoint: str
    stream: bool
    outcome: str
    http_status: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    token_source: str
    started_at: Time
    duration_s: float
    ttft_s: float | None
    replica_id: str | None
    deployment_id: str | None
    served_by: str | None
    attempts: int
    worker: str
    cost_micro: int


class Balance(Record):
    """A project's credit; ``leased_micro`` is set aside for gateway workers and comes back when unspent."""

    project_id: str
    project: str
    balance_micro: int
    leased_micro: int
    available_micro: int
    spent_micro: int
    credited_micro: int


class Posting(Record):
    """One line of an entry: positive adds to the account, negative takes from it."""

    account: str
    amount_micro: int


class Entry(Record):
    """A balanced money record: its postings sum to zero."""

    id: str
    kind: str
    reference: str
    created_at: Time
    memo: str
    postings: list[Posting]


class LedgerProblem(Record):
    """Something in the books that should not be."""

    reference: str
    problem: str
    expected_micro: int | None
    found_micro: int | None


class Verification(Record):
    """The result of recomputing every posting from usage and prices."""

    ok: bool
    entries_checked: int
    usage_checked: int
    sum_micro: int
    problems: list[LedgerProblem]


class Ledger:
    """/usage, /balance, /ledger. ``project`` is an id or a name; None is one's own."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def usage(
        self,
        *,
        project: str | None = None,
        since: datetime | None = None,
        to: datetime | None = None,
        group_by: GroupBy = "model",
    ) -> Usage:
        """Sums of a project's usage in [since, to). Raises ApiError."""
        params = {
            "project": project,
            "from": None if since is None else since.isoformat(),
            "to": None if to is None else to.isoformat(),
            "group_by": group_by,
        }
        return self._transport.one(Usage, "GET", "/usage", params=params)

    def records(
        self, *, project: str | None = None, request_id: str | None = None, outcome: str | None = None
    ) -> Iterator[UsageRecord]:
        """Single requests, newest first. Raises ApiError."""
        params = {"project": project, "request_id": request_id, "outcome": outcome}
        return self._transport.pages(UsageRecord, "/usage/records", params)

    def balance(self, project: str | None = None) -> Balance:
        """A project's credit. Raises ApiError."""
        return self._transport.one(Balance, "GET", "/balance", params={"project": project})

    def credit(self, project: str, amount_micro: int, memo: str, *, reference: str | None = None) -> Balance:
        """Add credit, or take it with a negative amount (platform admin); a reference posts only once."""
        body: dict[str, object] = {"amount_micro": amount_micro, "memo": memo}
        if reference is not None:
            body["reference"] = reference
        return self._transport.one(Balance, "POST", f"/projects/{segment(project)}/credit", body=body)

    def entries(self, project: str | None = None) -> Iterator[Entry]:
        """The project's entries, newest first. Raises ApiError."""
        return self._transport.pages(Entry, "/ledger/entries", {"project": project})

    def verify(self) -> Verification:
        """Recompute every posting (platform admin). Raises ApiError."""
        return self._transport.one(Verification, "POST", "/ledger/verify")
