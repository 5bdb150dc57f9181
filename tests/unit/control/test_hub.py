from __future__ import annotations

import asyncio

from yunhe.control.hub import SNAPSHOT, Hub


async def test_a_wake_up_ends_the_wait() -> None:
    hub = Hub()
    seen = hub.count(SNAPSHOT)
    waiting = asyncio.create_task(hub.wait(SNAPSHOT, seen, 60))
    await asyncio.sleep(0)
    hub.wake(SNAPSHOT)
    assert await waiting


async def test_a_wake_up_between_reading_and_waiting_is_not_lost() -> None:
    hub = Hub()
    seen = hub.count(SNAPSHOT)
    hub.wake(SNAPSHOT)
    assert await hub.wait(SNAPSHOT, seen, 60)


async def test_a_wait_without_a_wake_up_ends_by_itself_and_leaves_nothing_behind() -> None:
    hub = Hub()
    assert not await hub.wait(SNAPSHOT, 0, 0.01)
    assert hub._waiters == {}


async def test_every_waiter_of_a_topic_is_woken_and_no_other() -> None:
    hub = Hub()
    waits = [asyncio.create_task(hub.wait("a", 0, 60)) for _ in range(3)]
    other = asyncio.create_task(hub.wait("b", 0, 0.05))
    await asyncio.sleep(0)
    hub.wake("a")
    assert await asyncio.gather(*waits) == [True, True, True]
    assert not await other


async def test_closing_ends_every_wait_so_that_the_process_can_stop() -> None:
    hub = Hub()
    waiting = asyncio.create_task(hub.wait("a", 0, 60))
    await asyncio.sleep(0)
    hub.close()
    await waiting
    assert not await hub.wait("b", 0, 60)
