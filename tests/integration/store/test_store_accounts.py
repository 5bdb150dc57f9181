"""Organisations, projects, users, memberships, keys and sessions."""

from dataclasses import replace

import pytest

from yunhe.accounts.model import ApiKey, Membership, Organisation, Project, Role, Scope, User
from yunhe.core.errors import Conflict
from yunhe.core.ids import new_id
from yunhe.store import changes, keys, projects, users
from yunhe.store.database import Database
from yunhe.store.users import Session
from yunhe.testing.samples import NOW


async def changed_since(db: Database, revision: int) -> set[tuple[str, str]] | None:
    async with db.read() as tx:
        found = await changes.since(tx, revision)
    return None if found is None else set(found)


async def revision_of(db: Database) -> int:
    async with db.read() as tx:
        return await changes.current(tx)


async def test_what_is_written_is_read_back_whole_by_id_and_by_name(stocked: Database) -> None:
    organisation = Organisation("org_2", "institute", NOW)
    project = Project("proj_2", "org_2", "climate", NOW, rpm_limit=5, tpm_limit=10**12, suspended_reason="unpaid")
    user = User("user_2", "李雷", "hash", frozenset({Role.PLATFORM_ADMIN, Role.CENTRE_OPERATOR}), NOW, disabled=True)
    async with stocked.write() as tx:
        await projects.add_organisation(tx, organisation)
        await projects.add_project(tx, project)
        await users.add_user(tx, user)
    async with stocked.read() as tx:
        assert await projects.organisation(tx, "org_2") == await projects.organisation(tx, "institute") == organisation
        assert await projects.project(tx, "proj_2") == await projects.project(tx, "climate") == project
        assert await users.user(tx, "user_2") == await users.user(tx, "李雷") == user
        assert await projects.project(tx, "nobody") is None
        assert await users.count_users(tx) == 2


async def test_a_taken_name_is_a_conflict_and_the_transaction_goes_on(stocked: Database) -> None:
    async with stocked.write() as tx:
        for attempt in (
            projects.add_organisation(tx, Organisation("org_9", "default", NOW)),
            projects.add_project(tx, Project("proj_9", "org_1", "sample", NOW)),
            users.add_user(tx, User("user_9", "ann", "hash", frozenset(), NOW)),
            projects.add_member(tx, Membership("mem_9", "user_1", "proj_sample", Role.MEMBER)),
        ):
            with pytest.raises(Conflict):
                await attempt
        await projects.add_project(tx, Project("proj_3", "org_1", "third", NOW))
    async with stocked.read() as tx:
        assert await projects.project(tx, "third") is not None


async def test_renaming_a_project_to_a_taken_name_is_a_conflict(stocked: Database) -> None:
    async with stocked.write() as tx:
        await projects.add_project(tx, Project("proj_3", "org_1", "third", NOW))
    with pytest.raises(Conflict):
        async with stocked.write() as tx:
            await projects.save_project(tx, Project("proj_3", "org_1", "sample", NOW))


async def test_lists_go_newest_first_and_pages_join_without_gap_or_repeat(stocked: Database) -> None:
    made = [new_id("proj") for _ in range(25)]
    async with stocked.write() as tx:
        for number, project_id in enumerate(made):
            await projects.add_project(tx, Project(project_id, "org_1", f"p{number}", NOW))
    seen: list[str] = []
    async with stocked.read() as tx:
        while page := await projects.list_projects(tx, 7, seen[-1] if seen else None):
            seen += [project.id for project in page]
    assert seen == sorted([*made, "proj_sample"], reverse=True)


async def test_a_key_is_read_back_whole(stocked: Database) -> None:
    key = ApiKey(
        "key_2", "proj_sample", "user_1", "second", "prefix2", "d2", frozenset({Scope.INFERENCE, Scope.READ}), NOW,
        expires_at=NOW + 60, rpm_limit=3, tpm_limit=400, models=("sample", "other/model"),
    )  # fmt: skip
    async with stocked.write() as tx:
        await keys.add_key(tx, key)
    async with stocked.read() as tx:
        assert await keys.key(tx, "key_2") == await keys.key(tx, "prefix2") == key
        assert [k.id for k in await keys.list_keys(tx, 10, project_ids=["proj_sample"])] == ["key_2", "key_1"]
        assert await keys.list_keys(tx, 10, project_ids=["proj_other"]) == []


async def test_revoking_a_key_is_noted_once_and_keeps_its_first_time(stocked: Database) -> None:
    before = await revision_of(stocked)
    for moment in (NOW + 1, NOW + 2):
        async with stocked.write() as tx:
            await keys.revoke(tx, "key_1", moment)
    async with stocked.read() as tx:
        key = await keys.key(tx, "key_1")
        assert key is not None
        assert key.revoked_at == NOW + 1
        assert await keys.good_keys(tx, NOW + 3) == []
    assert await changed_since(stocked, before) == {("key", "prefix1")}
    assert await revision_of(stocked) == before + 1


async def good_prefixes(db: Database) -> list[str]:
    async with db.read() as tx:
        return [key.prefix for key in await keys.good_keys(tx, NOW)]


async def test_a_disabled_users_keys_are_good_for_nothing_until_enabled_again(stocked: Database) -> None:
    async with stocked.read() as tx:
        user = await users.user(tx, "user_1")
    assert user is not None
    for disabled, expected in ((True, []), (False, ["prefix1"])):
        before = await revision_of(stocked)
        async with stocked.write() as tx:
            await users.save_user(tx, replace(user, disabled=disabled))
        assert await good_prefixes(stocked) == expected
        assert await changed_since(stocked, before) == {("key", "prefix1")}


async def test_leaving_a_project_makes_its_keys_useless_unless_one_is_admin(stocked: Database) -> None:
    before = await revision_of(stocked)
    async with stocked.write() as tx:
        assert not await projects.remove_member(tx, "proj_other", "mem_1")
        assert await projects.remove_member(tx, "proj_sample", "mem_1")
    assert await good_prefixes(stocked) == []
    assert await changed_since(stocked, before) == {("key", "prefix1")}
    async with stocked.write() as tx:
        await users.save_user(tx, User("user_1", "ann", "hash", frozenset({Role.PLATFORM_ADMIN}), NOW))
    assert await good_prefixes(stocked) == ["prefix1"]


async def test_an_expired_key_is_not_good(stocked: Database) -> None:
    async with stocked.write() as tx:
        for number, expires_at in ((2, NOW), (3, NOW + 1)):
            await keys.add_key(
                tx,
                ApiKey(
                    f"key_{number}", "proj_sample", "user_1", "k", f"prefix{number}", "d", frozenset(), NOW, expires_at
                ),
            )
    assert sorted(await good_prefixes(stocked)) == ["prefix1", "prefix3"]


async def test_sessions_end_alone_together_and_by_time(stocked: Database) -> None:
    async with stocked.write() as tx:
        for number in range(4):
            await users.add_session(
                tx, Session(f"sess_{number}", "user_1", f"s{number}", "digest", NOW, NOW + 10 * number)
            )
        await users.end_session(tx, "sess_3")
        await users.purge_sessions(tx, NOW + 1)

    async def present() -> list[bool]:
        async with stocked.read() as tx:
            return [await users.session_by_prefix(tx, f"s{number}") is not None for number in range(4)]

    assert await present() == [False, True, True, False]
    async with stocked.write() as tx:
        await users.end_sessions_of(tx, "user_1")
    assert await present() == [False] * 4
