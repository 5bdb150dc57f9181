"""Prices, usage, balances and ledger entries. Amounts are integer micro-credits."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Self

from pydantic import Field

from yunhe.api.schemas.fields import GivenTime, Input, ModelName, Output, PriceMicro, Time
from yunhe.control.money import PricedUsage, UsageView
from yunhe.ledger.usage import Outcome, TokenSource


class Price(Output):
    """What a model's tokens cost from a date on."""

    id: str
    model: str
    input_micro_per_mtok: int
    output_micro_per_mtok: int
    effective_from: Time


class NewPrice(Input):
    """A price from now or a later date on; earlier usage keeps its price."""

    model: ModelName
    input_micro_per_mtok: PriceMicro
    output_micro_per_mtok: PriceMicro
    effective_from: GivenTime | None = None


class Totals(Output):
    """Sums over usage records."""

    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_micro: int
    errors: int = Field(description="Requests that ended in an upstream error, a time-out or a crash.")


class UsageGroup(Totals):
    """Totals of one model, key, day or hour."""

    key: str = Field(description="Model name, key id, or start of the day or hour (ISO 8601, UTC).")
    name: str = Field(description="The same for people: a key's name, else `key` again.")


class Usage(Output):
    """Usage of a project in [from, to)."""

    from_: Annotated[Time, Field(alias="from")]
    to: Time
    total: Totals
    groups: list[UsageGroup]

    @classmethod
    def of_view(cls, view: UsageView) -> Self:
        """The shape of a usage report."""
        return cls.model_validate(
            {
                "from": view.from_s,
                "to": view.to_s,
                "total": Totals.of(view.total),
                "groups": [
                    UsageGroup.model_validate(asdict(g.totals) | {"key": g.key, "name": g.name}) for g in view.groups
                ],
            }
        )


class UsageRecord(Output):
    """What one request used, and what it cost."""

    request_id: str
    project_id: str
    key_id: str
    model: str
    endpoint: str
    stream: bool
    outcome: Outcome
    http_status: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    token_source: TokenSource
    started_at: Time
    duration_s: float
    ttft_s: float | None
    price_id: str | None
    lease_id: str | None
    replica_id: str | None
    deployment_id: str | None
    served_by: str | None
    attempts: int
    worker: str
    cost_micro: int

    @classmethod
    def of_view(cls, view: PricedUsage) -> Self:
        """The shape of a usage record with its cost."""
        return cls.model_validate({**asdict(view.record), "cost_micro": view.cost_micro})


class Balance(Output):
    """A project's credit."""

    project_id: str
    project: str
    balance_micro: int
    leased_micro: int = Field(description="Set aside for gateway workers; comes back when unspent.")
    available_micro: int
    spent_micro: int
    credited_micro: int


class Posting(Output):
    """One line of an entry: positive adds to the account, negative takes from it."""

    account: str
    amount_micro: int


class Entry(Output):
    """A balanced money record: its postings sum to zero."""

    id: str
    kind: str
    reference: str
    created_at: Time
    memo: str
    postings: list[Posting]


class LedgerProblem(Output):
    """Something in the books that should not be."""

    reference: str
    problem: str
    expected_micro: int | None
    found_micro: int | None


class Verification(Output):
    """The result of recomputing every posting from usage and prices."""

    ok: bool
    entries_checked: int
    usage_checked: int
    sum_micro: int = Field(description="Sum over all postings; 0 in sound books.")
    problems: list[LedgerProblem]
