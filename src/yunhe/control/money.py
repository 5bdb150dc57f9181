"""Prices, credit, usage and the ledger, as people see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy.exc import IntegrityError

from yunhe.accounts.model import Project
from yunhe.control.hub import SNAPSHOT
from yunhe.control.page import Page, page_of
from yunhe.control.state import ControlState
from yunhe.core.clock import utc
from yunhe.core.errors import Conflict, InvalidRequest, NotFound
from yunhe.core.ids import new_id
from yunhe.ledger.account import project_account
from yunhe.ledger.credit import credit_entry
from yunhe.ledger.model import Entry, Price
from yunhe.ledger.usage import Outcome
from yunhe.ledger.verify import Problem
from yunhe.store import changes, entries, keys, models, usage
from yunhe.store.database import Tx
from yunhe.store.usage import GroupBy, Totals
from yunhe.store.usage import PricedUsage as PricedUsage

#: Without a start, usage is told of so long before the end.
USAGE_DEFAULT_S: Final = timedelta(days=30).total_seconds()
#: The longest span of hourly groups: 31 days are 744 of them.
HOURLY_MAX_S: Final = timedelta(days=31).total_seconds()
#: The same for daily groups.
DAILY_MAX_S: Final = timedelta(days=3660).total_seconds()
#: A price may be dated so far back: clocks differ.
PAST_S: Final = 60.0
#: Far below 64 bits, so that sums over many accounts still fit.
BALANCE_MICRO_MAX: Final = 10**17
#: Totals of the distribution's groups shown: models and keys.
GROUPS_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class CreditAsk:
    """Credit to add (or to take: negative). The same reference twice posts once."""

    amount_micro: int
    memo: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class BalanceView:
    """A project's credit."""

    project_id: str
    project: str
    balance_micro: int
    leased_micro: int
    available_micro: int
    spent_micro: int
    credited_micro: int


@dataclass(frozen=True, slots=True)
class UsageGroupView:
    """Totals of one model, key, day or hour."""

    key: str
    name: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class UsageView:
    """Usage in [from_s, to_s), unix seconds."""

    from_s: float
    to_s: float
    total: Totals
    groups: tuple[UsageGroupView, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """What recomputing the ledger found."""

    ok: bool
    entries_checked: int
    usage_checked: int
    sum_micro: int
    problems: tuple[Problem, ...]


class Money:
    """Whether the caller may is checked before, by the caller of these."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    async def prices(self, model: str | None, limit: int, after: str | None) -> Page[Price]:
        """Prices, newest first; of one model when named."""
        async with self._state.db.read() as tx:
            return page_of(await models.list_prices(tx, limit + 1, after, model), limit, lambda price: price.id)

    async def set_price(self, model: str, input_micro: int, output_micro: int, effective_from: float | None) -> Price:
        """A model's price from then (None: now) on. Raises NotFound, InvalidRequest for a date that has passed."""
        now = self._state.clock.unix_s()
        if effective_from is not None and effective_from < now - PAST_S:
            raise InvalidRequest(
                fields=["body.effective_from: must not lie in the past"],
                next_step="Leave it out to let the price hold from now on; usage keeps the price it was made under.",
            )
        price = Price(
            new_id("price"), model, input_micro, output_micro, now if effective_from is None else effective_from
        )
        async with self._state.db.write() as tx:
            if await models.model(tx, model) is None:
                raise NotFound(f"There is no model {model!r}.", next_step="List them: yunhe model list.")
            await models.add_price(tx, price)
        self._state.hub.wake(SNAPSHOT)
        return price

    async def balance(self, project: Project) -> BalanceView:
        """The project's credit now."""
        async with self._state.db.read() as tx:
            return await _balance(tx, project)

    async def add_credit(self, project: Project, ask: CreditAsk) -> BalanceView:
        """Post a credit, once per reference.

        Raises InvalidRequest for an amount of 0, Conflict for a reference that was used for another credit.
        """
        if ask.amount_micro == 0:
            raise InvalidRequest(fields=["body.amount_micro: must not be 0"])
        entry_id = new_id("entry")
        entry = credit_entry(
            entry_id, project.id, ask.amount_micro, ask.reference or entry_id, ask.memo, self._state.clock.unix_s()
        )
        try:
            return await self._post_credit(project, entry)
        except IntegrityError:
            # Another process posted the same reference at the same time: now it is there to compare with.
            return await self._post_credit(project, entry)

    async def _post_credit(self, project: Project, entry: Entry) -> BalanceView:
        async with self._state.db.write() as tx:
            before = await entries.entry_by_reference(tx, entry.kind, entry.reference)
            if before is None:
                old = await entries.balance(tx, project.id)
                if abs(old.balance_micro + _amount(entry, project.id)) > BALANCE_MICRO_MAX:
                    raise Conflict(f"A balance is at most {BALANCE_MICRO_MAX} micro-credits.")
                await entries.post(tx, [entry])
                await changes.note(tx, "project", project.id)
            elif _amount(before, project.id) != _amount(entry, project.id):
                raise Conflict(
                    f"The reference {entry.reference!r} was used for another credit.",
                    next_step="Use a new reference for a new credit.",
                )
            view = await _balance(tx, project)
        self._state.hub.wake(SNAPSHOT)
        return view

    async def usage(self, project: Project, since: float | None, until: float | None, group_by: GroupBy) -> UsageView:
        """Totals of [since, until). Raises InvalidRequest for a span that is empty or has too many groups."""
        until = self._state.clock.unix_s() if until is None else until
        since = max(0.0, until - USAGE_DEFAULT_S) if since is None else since
        longest = {"hour": HOURLY_MAX_S, "day": DAILY_MAX_S}.get(group_by)
        if since > until:
            raise InvalidRequest(fields=["query.from: must not be later than query.to"])
        if longest is not None and until - since > longest:
            raise InvalidRequest(fields=[f"query.from: at most {longest / 86_400:.0f} days before query.to"])
        async with self._state.db.read() as tx:
            total = (await usage.totals(tx, project_ids=[project.id], since=since, until=until))[0]
            groups = await usage.totals(tx, project_ids=[project.id], since=since, until=until, group_by=group_by)
            named = [await _group(tx, group, group_by) for group in groups[:GROUPS_MAX]]
        return UsageView(since, until, total, tuple(named))

    async def records(
        self, project: Project, request_id: str | None, outcome: Outcome | None, limit: int, after: str | None
    ) -> Page[PricedUsage]:
        """The project's requests one by one, newest first."""
        async with self._state.db.read() as tx:
            listed = await usage.list_usage(
                tx, limit + 1, after, project_ids=[project.id], request_id=request_id, outcome=outcome
            )
        return page_of(listed, limit, lambda priced: priced.record.request_id)

    async def entries(self, project: Project, limit: int, after: str | None) -> Page[Entry]:
        """The entries that touch the project's account, newest first."""
        async with self._state.db.read() as tx:
            listed = await entries.list_entries(tx, limit + 1, after, project_account(project.id))
        return page_of(listed, limit, lambda entry: entry.id)

    async def verify(self) -> Verification:
        """Recompute every posting and balance, and compare."""
        async with self._state.db.read() as tx:
            audit = await entries.audit(tx)
        return Verification(
            ok=not audit.problems,
            entries_checked=audit.entries_checked,
            usage_checked=audit.usage_checked,
            sum_micro=audit.sum_micro,
            problems=tuple(audit.problems),
        )


def _amount(entry: Entry, project_id: str) -> int:
    account = project_account(project_id)
    return sum(posting.amount_micro for posting in entry.postings if posting.account == account)


async def _balance(tx: Tx, project: Project) -> BalanceView:
    found = await entries.balance(tx, project.id)
    return BalanceView(
        project_id=project.id,
        project=project.name,
        balance_micro=found.balance_micro,
        leased_micro=found.leased_micro,
        available_micro=found.available_micro,
        spent_micro=found.spent_micro,
        credited_micro=found.credited_micro,
    )


async def _group(tx: Tx, group: Totals, group_by: GroupBy) -> UsageGroupView:
    if group_by == "model":
        return UsageGroupView(group.key, group.key, group)
    if group_by == "key":
        key = await keys.key(tx, group.key)
        return UsageGroupView(group.key, group.key if key is None else key.name, group)
    start = utc(float(group.key)).isoformat().replace("+00:00", "Z")
    return UsageGroupView(start, start, group)
