"""Adaptations, their journals, recipes and trusted keys as they are kept."""

from dataclasses import replace

import pytest

from yunhe.adapt.adaptation import WORKLOADS, AdaptationSpec
from yunhe.core.errors import Conflict
from yunhe.pool.model import Centre
from yunhe.store import adaptations, pool, recipes
from yunhe.store.adaptations import Adaptation, Assignment, StoredEntry
from yunhe.store.database import Database
from yunhe.store.recipes import KeptKey, KeptRecipe
from yunhe.testing import samples


def adaptation(number: int = 1, **changes: object) -> Adaptation:
    made = Adaptation(
        id=f"adp_{number}",
        project_id=None,
        centre_id="centre_1",
        spec=AdaptationSpec("sample", WORKLOADS["prefill"], "code", 120.0, 7, ("alpha",), 3),
        assignment=Assignment(samples.model(), ("cpu0",), "cpu-x", samples.recipe()),
        state="waiting",
        activity="waits",
        created_at=samples.NOW,
        state_since=samples.NOW,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
async def centred(db: Database) -> Database:
    """A database with two centres."""
    async with db.write() as tx:
        await pool.add_centre(tx, Centre("centre_1", "one", "local", samples.NOW))
        await pool.add_centre(tx, Centre("centre_2", "two", "local", samples.NOW))
    return db


async def test_an_adaptation_comes_back_as_it_was_written_and_changed(centred: Database) -> None:
    made = adaptation()
    ended = replace(
        made, state="finished", activity="2.3 times", used_s=99.5, finished_at=5.0, recipe_id="rcp_x", cancel_asked=True
    )
    async with centred.write() as tx:
        await adaptations.add_adaptation(tx, made)
        assert await adaptations.adaptation(tx, "adp_1") == made
        await adaptations.save_adaptation(tx, ended)
        assert await adaptations.adaptation(tx, "adp_1") == ended
        assert await adaptations.adaptation(tx, "adp_2") is None


async def test_the_unfinished_of_a_centre_come_oldest_first(centred: Database) -> None:
    async with centred.write() as tx:
        for one in (adaptation(3), adaptation(1), adaptation(2, finished_at=1.0), adaptation(4, centre_id="centre_2")):
            await adaptations.add_adaptation(tx, one)
        assert [one.id for one in await adaptations.unfinished(tx, ["centre_1"])] == ["adp_1", "adp_3"]
        assert [one.id for one in await adaptations.list_adaptations(tx, 9, centre_id="centre_1")] == [
            "adp_3",
            "adp_2",
            "adp_1",
        ]
        assert [one.id for one in await adaptations.list_adaptations(tx, 2, after="adp_4", model="sample")] == [
            "adp_3",
            "adp_2",
        ]
        assert await adaptations.list_adaptations(tx, 9, model="other") == []


async def test_a_journal_is_read_from_any_number_on_and_takes_no_number_twice(centred: Database) -> None:
    lines = [StoredEntry(number, 10.0 + number, f'{{"n": {number}}}') for number in range(4)]
    async with centred.write() as tx:
        await adaptations.add_adaptation(tx, adaptation())
        await adaptations.add_adaptation(tx, adaptation(2))
        await adaptations.add_entries(tx, "adp_1", lines[:3])
        await adaptations.add_entries(tx, "adp_1", lines[3:])
        await adaptations.add_entries(tx, "adp_1", [])
        assert await adaptations.entry_counts(tx, ["adp_1", "adp_2"]) == {"adp_1": 4}
        assert await adaptations.entries(tx, "adp_1", 1, 2) == lines[1:3]
        assert await adaptations.entries(tx, "adp_1", 4, 2) == []
    with pytest.raises(Exception, match=r"(?i)unique"):
        async with centred.write() as tx:
            await adaptations.add_entries(tx, "adp_1", lines[3:])


def kept(number: int, **changes: object) -> KeptRecipe:
    made = KeptRecipe(
        f"rcp_{number:064x}", "tiny", "cpu-x", "alpha", "decode", '{"a":"é"}', "k" * 64, "local", float(number)
    )
    return replace(made, **changes)  # type: ignore[arg-type]


async def test_a_recipe_of_the_same_content_is_kept_once(db: Database) -> None:
    async with db.write() as tx:
        assert await recipes.add_recipe(tx, kept(1))
        assert not await recipes.add_recipe(tx, kept(1, origin="imported"))
        assert await recipes.recipe(tx, kept(1).id) == kept(1)
        assert await recipes.recipe(tx, "rcp_1") is None
        assert await recipes.recipes_beginning(tx, "rcp_000") == [kept(1)]
        assert await recipes.recipes_beginning(tx, "rcp_%") == []


async def test_recipes_are_listed_newest_first_and_filtered(db: Database) -> None:
    async with db.write() as tx:
        same_time = kept(9, created_at=2.0)
        for one in (kept(1), kept(2), same_time, kept(3, model="big", chip="npu-y", engine="beta")):
            await recipes.add_recipe(tx, one)
        assert [one.id for one in await recipes.list_recipes(tx, 9)] == [
            kept(3).id,
            same_time.id,
            kept(2).id,
            kept(1).id,
        ]
        assert await recipes.list_recipes(tx, 1, (2.0, same_time.id)) == [kept(2)]
        for wanted in ({"model": "big"}, {"chip": "npu-y"}, {"engine": "beta"}):
            assert [one.id for one in await recipes.list_recipes(tx, 9, **wanted)] == [kept(3).id]  # type: ignore[arg-type]


async def test_a_recipe_is_revoked_once_and_for_good(db: Database) -> None:
    async with db.write() as tx:
        await recipes.add_recipe(tx, kept(1))
        assert await recipes.revoked_recipes(tx) == []
        assert await recipes.revoke_recipe(tx, kept(1).id, 7.0, "wrong clock")
        assert not await recipes.revoke_recipe(tx, kept(1).id, 8.0, "again")
        assert await recipes.revoked_recipes(tx) == [kept(1, revoked_at=7.0, revoked_why="wrong clock")]


async def test_a_trusted_key_is_added_once_revoked_once_and_removed(db: Database) -> None:
    key = KeptKey("a" * 64, "partner", "b" * 64, 1.0, None, 2.0)
    async with db.write() as tx:
        await recipes.add_key(tx, key)
        with pytest.raises(Conflict, match="already"):
            await recipes.add_key(tx, key)
        await recipes.ensure_key(tx, replace(key, name="other"))
        assert await recipes.trusted(tx) == [key]
        assert await recipes.revoke_key(tx, key.key_id, 9.0, "stolen")
        assert not await recipes.revoke_key(tx, key.key_id, 10.0, "again")
        assert await recipes.trusted(tx) == [replace(key, revoked_at=9.0, revoked_why="stolen")]
        assert await recipes.remove_key(tx, key.key_id)
        assert not await recipes.remove_key(tx, key.key_id)
