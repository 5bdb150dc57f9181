"""API keys."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Row, exists, or_, select, update

from yunhe.accounts.model import ApiKey, Role, Scope
from yunhe.store import changes
from yunhe.store.rows import add, newest
from yunhe.store.schema import pack, unpack
from yunhe.store.tables_accounts import api_keys, memberships, users
from yunhe.store.tx import Tx

_PLAIN = (
    "id", "project_id", "user_id", "name", "prefix", "digest", "created_at",
    "expires_at", "revoked_at", "rpm_limit", "tpm_limit",
)  # fmt: skip


def _key(row: Row[Any]) -> ApiKey:
    plain = {name: getattr(row, name) for name in _PLAIN}
    models = unpack(row.models, tuple[str, ...]) if row.models is not None else None
    return ApiKey(**plain, scopes=frozenset(unpack(row.scopes, list[Scope])), models=models)


async def add_key(tx: Tx, key: ApiKey) -> None:
    """Store a new key; gateways learn of it."""
    values = {name: getattr(key, name) for name in _PLAIN}
    values["scopes"] = pack(sorted(key.scopes))
    values["models"] = pack(key.models) if key.models is not None else None
    await add(tx, api_keys, values, "There is a key with this prefix already.")
    await changes.note(tx, "key", key.prefix)


async def key(tx: Tx, ref: str) -> ApiKey | None:
    """By id or prefix."""
    row = (await tx.execute(select(api_keys).where(or_(api_keys.c.id == ref, api_keys.c.prefix == ref)))).first()
    return _key(row) if row else None


async def list_keys(
    tx: Tx, limit: int, after: str | None = None, project_ids: Collection[str] | None = None
) -> list[ApiKey]:
    """Newest first; revoked ones too."""
    query = select(api_keys)
    if project_ids is not None:
        query = query.where(api_keys.c.project_id.in_(project_ids))
    return [_key(row) for row in await tx.execute(newest(query, api_keys.c.id, limit, after))]


async def good_keys(tx: Tx, now: float, prefixes: Collection[str] | None = None) -> list[ApiKey]:
    """Every key that calls may be made with, or every one of these: what gateways know.

    Neither revoked nor expired; its owner is not disabled, and a member of its project or a platform admin.
    """
    good = api_keys.c.revoked_at.is_(None) & or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now)
    member = exists().where(
        memberships.c.user_id == api_keys.c.user_id, memberships.c.project_id == api_keys.c.project_id
    )
    stands = users.c.disabled.is_(False) & or_(member, users.c.roles.contains(pack(Role.PLATFORM_ADMIN)))
    query = select(api_keys).join(users, users.c.id == api_keys.c.user_id).where(good, stands)
    if prefixes is not None:
        query = query.where(api_keys.c.prefix.in_(prefixes))
    return [_key(row) for row in await tx.execute(query)]


async def note_keys_of(tx: Tx, user_id: str, project_id: str | None = None) -> None:
    """Let gateways look again at a user's keys (of one project): the user's standing has changed."""
    query = select(api_keys.c.prefix).where(api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
    if project_id is not None:
        query = query.where(api_keys.c.project_id == project_id)
    for row in await tx.execute(query):
        await changes.note(tx, "key", row.prefix)


async def revoke(tx: Tx, key_id: str, now: float) -> None:
    """Revoke a key; revoking again changes nothing."""
    where = (api_keys.c.id == key_id) & api_keys.c.revoked_at.is_(None)
    row = (await tx.execute(update(api_keys).where(where).values(revoked_at=now).returning(api_keys.c.prefix))).first()
    if row:
        await changes.note(tx, "key", row.prefix)
