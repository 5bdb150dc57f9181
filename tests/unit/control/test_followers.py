import asyncio

from yunhe.control.followers import Followers


async def test_nobody_waits_where_no_worker_follows() -> None:
    assert await Followers().caught_up(7, 0)


async def test_workers_that_have_seen_the_revision_count_at_once() -> None:
    followers = Followers()
    with followers.waiting_at(7), followers.waiting_at(9):
        assert await followers.caught_up(7, 2)


async def test_a_worker_behind_is_waited_for() -> None:
    followers = Followers()
    with followers.waiting_at(6):
        waiting = asyncio.create_task(followers.caught_up(7, 1))
        await asyncio.sleep(0)
        assert not waiting.done()
    with followers.waiting_at(7):
        assert await waiting


async def test_a_worker_that_never_comes_is_not_waited_for_long() -> None:
    followers = Followers()
    with followers.waiting_at(6):
        assert not await followers.caught_up(7, 1)
