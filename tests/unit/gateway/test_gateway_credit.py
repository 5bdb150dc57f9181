"""Credit held in memory."""

import pytest

from yunhe.gateway.credit import FREE, CreditBook
from yunhe.gateway.options import OFFLINE_MICRO_MAX, OFFLINE_SHARE
from yunhe.gateway.refusal import Refusal
from yunhe.ledger.model import LeaseGrant

P = "proj"


def granted(book: CreditBook, amount: int, lease_id: str = "l1", now_s: float = 0.0, expires: float = 300.0) -> None:
    book.granted(LeaseGrant(P, lease_id, amount, expires, amount), now_s, 0.0)


def book_with(amount: int, available: int = 1000) -> CreditBook:
    book = CreditBook(1, lambda _project: available)
    assert book.take(P, 1, 0.0) is None
    book.asks(0.0, 0)
    granted(book, amount)
    return book


def test_holds_never_exceed_the_lease() -> None:
    book = book_with(100)
    holds = [book.take(P, 10, 0.0) for _ in range(10)]
    assert all(hold is not None for hold in holds)
    assert book.take(P, 10, 0.0) is None


def test_settling_gives_back_what_was_not_used() -> None:
    book = book_with(100)
    lease = book.take(P, 100, 0.0)
    assert lease is not None
    book.settle(lease, 100, 30, P, 1, 0.0)
    assert book.take(P, 70, 0.0) is lease
    assert book.take(P, 1, 0.0) is None


def test_what_costs_nothing_needs_no_lease() -> None:
    assert CreditBook(1, lambda _project: 0).take(P, 0, 0.0) is FREE


def test_who_waits_is_called_when_control_has_answered_and_refused_with_its_reason() -> None:
    book = CreditBook(1, lambda _project: 0)
    called: list[str] = []
    assert book.take(P, 10, 0.0) is None
    book.wait(P, lambda: called.append("a"))
    asks, _ = book.asks(0.0, 0)
    assert [(ask.project_id, ask.need_micro) for ask in asks] == [(P, 10)]
    book.granted(LeaseGrant(P, None, 0, 0.0, 0, "the project has no credit left"), 0.0, 0.0)
    assert called == ["a"]
    with pytest.raises(Refusal, match="no credit left"):
        book.take(P, 10, 0.5)
    assert book.take(P, 10, 2.0) is None
    book.credit_arrived(P)


def test_more_is_asked_for_before_the_lease_runs_out() -> None:
    book = book_with(100)
    for _ in range(7):
        assert book.take(P, 10, 0.0) is not None
    assert not book.pending
    assert book.take(P, 10, 0.0) is not None
    assert book.pending
    asks, _ = book.asks(0.0, 0)
    assert asks[0].need_micro == 0
    assert asks[0].lease_id is None


def test_a_superseded_lease_is_given_back_once_its_records_are_confirmed() -> None:
    book = book_with(100)
    first = book.take(P, 90, 0.0)
    assert first is not None
    assert len(book.asks(0.0, 0)[0]) == 1
    granted(book, 500, "l2")
    assert book.asks(0.0, 0) == ([], [])
    book.settle(first, 90, 5, P, 7, 0.0)
    assert book.asks(0.0, 6)[1] == []
    assert book.asks(0.0, 7)[1] == ["l1"]
    second = book.take(P, 90, 0.0)
    assert second is not None
    assert second.id == "l2"


def test_an_idle_lease_is_given_back_soon_where_credit_is_scarce() -> None:
    book = book_with(5, available=1000)
    assert book.asks(0.2, 0)[1] == []
    assert book.asks(1.0, 0)[1] == ["l1"]
    rich = book_with(1000, available=1000)
    assert rich.asks(1.0, 0)[1] == []
    assert rich.asks(100.0, 0)[1] == ["l1"]


def test_an_expiring_lease_takes_no_new_holds() -> None:
    book = book_with(100)
    assert book.take(P, 10, 296.0) is None


def test_the_offline_allowance_is_one_share_of_what_was_free() -> None:
    book = CreditBook(2, lambda _project: 1000)
    book.away = True
    budget = int(1000 * OFFLINE_SHARE) // 2
    lease = book.take(P, budget, 0.0)
    assert lease is not None
    assert lease.id is None
    with pytest.raises(Refusal, match="control plane is away"):
        book.take(P, 1, 0.0)
    rich = CreditBook(1, lambda _project: 10**15)
    rich.away = True
    with pytest.raises(Refusal):
        rich.take(P, OFFLINE_MICRO_MAX + 1, 0.0)


def test_everything_is_given_back_at_the_end() -> None:
    book = book_with(100)
    granted(book, 5, "l2")
    assert sorted(book.release_all()) == ["l1", "l2"]
