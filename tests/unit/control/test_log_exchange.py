from __future__ import annotations

import asyncio

import pytest

from yunhe.control.hub import Hub, centre_topic
from yunhe.control.log_exchange import ASKS_MAX, LogExchange
from yunhe.core.errors import Unavailable
from yunhe.serve.sync import LogAnswer, LogAsk


def ask(name: str = "a1") -> LogAsk:
    return LogAsk(name, "rep_1", 0, 1000)


async def test_a_question_reaches_the_agent_and_its_answer_the_asker() -> None:
    hub = Hub()
    exchange = LogExchange(hub)
    asking = asyncio.create_task(exchange.ask("c", ask(), 60))
    await asyncio.sleep(0)
    assert hub.count(centre_topic("c")) == 1
    assert exchange.has_new("c")
    assert exchange.give("c") == (ask(),)
    assert not exchange.has_new("c")
    exchange.take("c", (LogAnswer("unknown", "", 0, 0, True), LogAnswer("a1", "text", 0, 4, True)))
    assert (await asking).text == "text"
    assert exchange.give("c") == ()


async def test_no_answer_in_time_is_a_clear_error_and_forgotten() -> None:
    exchange = LogExchange(Hub())
    with pytest.raises(Unavailable, match="did not answer"):
        await exchange.ask("c", ask(), 0.01)
    assert exchange.give("c") == ()


async def test_open_questions_are_bounded() -> None:
    exchange = LogExchange(Hub())
    asking = [asyncio.create_task(exchange.ask("c", ask(f"a{n}"), 60)) for n in range(ASKS_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="too many"):
        await exchange.ask("c", ask("one-more"), 60)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
