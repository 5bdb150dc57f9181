"""API keys: list, make, revoke."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from yunhe.accounts import permissions
from yunhe.accounts.keys import digest, make_text
from yunhe.accounts.model import ApiKey, Principal, Project, Scope
from yunhe.control.hub import SNAPSHOT
from yunhe.control.page import Page, page_of
from yunhe.control.principals import Principals
from yunhe.control.state import ControlState
from yunhe.core.errors import Forbidden, NotFound
from yunhe.core.ids import new_id
from yunhe.store import changes, keys, users
from yunhe.store.database import Tx


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key with its maker's name."""

    key: ApiKey
    created_by: str


@dataclass(frozen=True, slots=True)
class KeyAsk:
    """A key to make."""

    name: str
    scopes: frozenset[Scope]
    expires_in_s: float | None = None
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    models: tuple[str, ...] | None = None


class Keys:
    """API keys of projects."""

    def __init__(self, state: ControlState, principals: Principals) -> None:
        self._state = state
        self._principals = principals

    async def list(self, project: Project, limit: int, after: str | None) -> Page[KeyView]:
        """The project's keys, revoked ones included, newest first."""
        async with self._state.db.read() as tx:
            listed = await keys.list_keys(tx, limit + 1, after, [project.id])
            page = page_of(listed, limit, lambda key: key.id)
            return Page(await _views(tx, page.items), page.next)

    async def get(self, caller: Principal, ref: str) -> KeyView:
        """The key of that id or prefix. Raises NotFound, also when the caller may not see its project."""
        async with self._state.db.read() as tx:
            key = await keys.key(tx, ref)
            if key is None or not permissions.sees_project(caller, key.project_id):
                raise NotFound(f"There is no key {ref!r} that you may see.", next_step="List them: yunhe key list.")
            return (await _views(tx, [key]))[0]

    async def create(self, caller: Principal, project: Project, ask: KeyAsk) -> tuple[KeyView, str]:
        """A new key and its whole text, which is kept nowhere."""
        secret, prefix = make_text("yh", os.urandom(40))
        now = self._state.clock.unix_s()
        key = ApiKey(
            id=new_id("key"),
            project_id=project.id,
            user_id=caller.user_id,
            name=ask.name,
            prefix=prefix,
            digest=digest(self._state.secrets.pepper, secret),
            scopes=ask.scopes,
            created_at=now,
            expires_at=None if ask.expires_in_s is None else now + ask.expires_in_s,
            rpm_limit=ask.rpm_limit,
            tpm_limit=ask.tpm_limit,
            models=ask.models,
        )
        async with self._state.db.write() as tx:
            await keys.add_key(tx, key)
        await self._tell_gateways()
        return KeyView(key, caller.user_name), secret

    async def revoke(self, caller: Principal, ref: str) -> KeyView:
        """Revoke a key; again is no error. Raises NotFound, Forbidden for a member who is not its maker."""
        found = await self.get(caller, ref)
        if found.key.user_id != caller.user_id and not permissions.owns_project(caller, found.key.project_id):
            raise Forbidden("Its maker, an owner of its project or a platform admin can revoke it.")
        async with self._state.db.write() as tx:
            await keys.revoke(tx, found.key.id, self._state.clock.unix_s())
        self._principals.forget(found.key.user_id)
        await self._tell_gateways()
        return await self.get(caller, found.key.id)

    async def _tell_gateways(self) -> None:
        """Wake them, and give them a moment, so that a key works (or is refused) as soon as its caller is answered."""
        state = self._state
        async with state.db.read() as tx:
            revision = await changes.current(tx)
        state.hub.wake(SNAPSHOT)
        await state.followers.caught_up(revision, len(state.stats.running(state.clock.unix_s())))


async def _views(tx: Tx, found: Iterable[ApiKey]) -> tuple[KeyView, ...]:
    names: dict[str, str] = {}
    views = []
    for key in found:
        if key.user_id not in names:
            user = await users.user(tx, key.user_id)
            names[key.user_id] = key.user_id if user is None else user.name
        views.append(KeyView(key, names[key.user_id]))
    return tuple(views)
