"""Centres, their agents and tokens, and what their inventories say."""

from dataclasses import replace

import pytest

from yunhe.core.errors import Conflict
from yunhe.pool.model import Card, Centre, Inventory, Measure, Node
from yunhe.serve.sync import EngineInfo
from yunhe.store import agents, pool
from yunhe.store.agents import Agent, JoinToken
from yunhe.store.database import Database
from yunhe.testing.samples import NOW

CARD = Card(
    "gpu-0", "h20", "maker", "gpu", "H20", 96 * 10**9, features=("bf16",), health="healthy",
    speeds={"memory_bandwidth": Measure(4.0e12, "bytes_per_s", "measured")},
)  # fmt: skip
AGENT = Agent("agent_1", "centre_1", "a-prefix", "digest", "host", "nonce", NOW)


def inventory(*cards: Card, at: float = NOW, node: str = "n1") -> Inventory:
    return Inventory((Node(node, 10**12, 64, "Linux", cards),), at)


@pytest.fixture
async def joined(stocked: Database) -> Database:
    async with stocked.write() as tx:
        await pool.add_centre(tx, Centre("centre_1", "local", "local", NOW))
        await agents.add_agent(tx, AGENT)
    return stocked


async def test_a_centre_is_read_back_and_its_name_is_unique(joined: Database) -> None:
    async with joined.write() as tx:
        with pytest.raises(Conflict):
            await pool.add_centre(tx, Centre("centre_2", "local", "slurm", NOW))
        await pool.touch_centre(tx, "centre_1", NOW + 5)
    async with joined.read() as tx:
        expected = Centre("centre_1", "local", "local", NOW, last_sync_at=NOW + 5)
        assert await pool.centre(tx, "local") == await pool.centre(tx, "centre_1") == expected


async def test_the_desired_revision_only_grows(joined: Database) -> None:
    for expected in (1, 2, 3):
        async with joined.write() as tx:
            assert await pool.bump_desired(tx, "centre_1") == expected
    async with joined.read() as tx:
        assert await pool.desired_revision(tx, "centre_1") == 3


async def test_a_card_that_vanishes_is_missing_once_and_comes_back_as_itself(joined: Database) -> None:
    other = replace(CARD, uid="gpu-1")
    async with joined.write() as tx:
        assert await pool.take_inventory(tx, "centre_1", inventory(CARD, other)) == []
        first = {placed.card.uid: placed.row_id for placed in await pool.cards_of(tx)}
        gone = await pool.take_inventory(tx, "centre_1", inventory(CARD, at=NOW + 1))
        assert [(card.uid, card.health) for card in gone] == [("gpu-1", "missing")]
        assert await pool.take_inventory(tx, "centre_1", inventory(CARD, at=NOW + 2)) == []
        await pool.take_inventory(tx, "centre_1", inventory(CARD, other, at=NOW + 3))
    async with joined.read() as tx:
        placed = await pool.cards_of(tx, ["centre_1"])
        assert {p.card.uid: p.row_id for p in placed} == first
        assert [p.card for p in placed] == [CARD, other]
        node = (await pool.list_nodes(tx, 10))[0].node
    assert node == Node("n1", 10**12, 64, "Linux", (CARD, other))


async def test_two_centres_may_have_cards_of_the_same_uid(joined: Database) -> None:
    async with joined.write() as tx:
        await pool.add_centre(tx, Centre("centre_2", "far", "local", NOW))
        await pool.take_inventory(tx, "centre_1", inventory(CARD))
        await pool.take_inventory(tx, "centre_2", inventory(CARD))
    async with joined.read() as tx:
        assert len(await pool.list_cards(tx, 10)) == 2
        assert [p.centre_id for p in await pool.cards_of(tx, ["centre_2"])] == ["centre_2"]


async def test_engines_are_what_the_agent_last_said(joined: Database) -> None:
    async with joined.write() as tx:
        await pool.set_engines(tx, "centre_1", [EngineInfo("a", "1"), EngineInfo("b", "", "broken")])
        await pool.set_engines(tx, "centre_1", [EngineInfo("b", "2")])
    async with joined.read() as tx:
        assert await pool.engines_by_centre(tx) == {"centre_1": [EngineInfo("b", "2")]}


async def test_a_join_token_lets_exactly_one_agent_in(joined: Database) -> None:
    token = JoinToken("tok_1", "centre_1", "j-prefix", "digest", NOW, NOW + 60)
    async with joined.write() as tx:
        await agents.add_join_token(tx, token)
        assert await agents.use_join_token(tx, "tok_1", "agent_1")
        assert not await agents.use_join_token(tx, "tok_1", "agent_2")
    async with joined.read() as tx:
        assert await agents.join_token_by_prefix(tx, "j-prefix") == replace(token, used_by="agent_1")


async def test_an_agent_is_found_by_its_token_and_remembers_its_syncs(joined: Database) -> None:
    async with joined.write() as tx:
        await agents.note_sync(tx, "agent_1", "boot_a", 7)
        await agents.note_inventory(tx, "agent_1", "boot_a")
        await agents.replace_credential(tx, "agent_1", "new-prefix", "new-digest")
    async with joined.read() as tx:
        assert await agents.agent_by_prefix(tx, "a-prefix") is None
        assert await agents.agent_by_prefix(tx, "new-prefix") == replace(
            AGENT, prefix="new-prefix", digest="new-digest", boot_id="boot_a", sequence=7, inventory_boot_id="boot_a"
        )
