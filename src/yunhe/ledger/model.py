"""The records of the ledger. All amounts are integer micro-credits; times are float unix seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Price:
    """What a model's tokens cost from a date on. Prices are never changed, only followed by a later one."""

    id: str
    model: str
    #: Micro-credits per million tokens.
    input_micro_per_mtok: int
    output_micro_per_mtok: int
    effective_from: float


@dataclass(frozen=True, slots=True)
class Posting:
    """One line of an entry: positive adds to the account, negative takes from it."""

    account: str
    amount_micro: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A balanced money record: its postings sum to zero. Append-only; a correction is a new entry."""

    id: str
    #: usage, credit, correction
    kind: str
    #: request id for usage; free text reference otherwise. Unique per kind.
    reference: str
    created_at: float
    postings: tuple[Posting, ...]
    memo: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """Credit of a project set aside for one gateway worker until a time.

    available = balance - sum(remaining of live leases). A usage record that names the lease lowers ``remaining_micro``
    by its cost in the same transaction that posts it.
    """

    id: str
    project_id: str
    worker: str
    granted_micro: int
    remaining_micro: int
    expires_at: float
    released_at: float | None = None


@dataclass(frozen=True, slots=True)
class LeaseAsk:
    """A worker's request for credit (wire form). ``lease_id`` names the lease that this one replaces.

    A worker replaces or gives back a lease only when all records that name it are confirmed: what it spent and
    control does not know yet would be lent twice.
    """

    project_id: str
    want_micro: int
    lease_id: str | None = None
    #: The least with which the request that waits for this lease can run; 0 when none waits.
    need_micro: int = 0


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """The answer to one ask (wire form); ``lease_id`` None and ``refused_reason`` set when there is no credit."""

    project_id: str
    lease_id: str | None
    granted_micro: int
    expires_at: float
    balance_micro: int
    refused_reason: str | None = None
