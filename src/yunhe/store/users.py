"""Users and their sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, func, insert, or_, select, update

from yunhe.accounts.model import Role, User
from yunhe.store.keys import note_keys_of
from yunhe.store.rows import add, newest
from yunhe.store.schema import pack, unpack
from yunhe.store.tables_accounts import sessions, users
from yunhe.store.tx import Tx


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser or CLI; the token itself is only with its holder."""

    id: str
    user_id: str
    prefix: str
    digest: str
    created_at: float
    expires_at: float


def _columns(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "name": user.name,
        "password_hash": user.password_hash,
        "roles": pack(sorted(user.roles)),
        "created_at": user.created_at,
        "disabled": user.disabled,
    }


def _user(row: Row[Any]) -> User:
    roles = frozenset(unpack(row.roles, list[Role]))
    return User(row.id, row.name, row.password_hash, roles, row.created_at, bool(row.disabled))


async def add_user(tx: Tx, user: User) -> None:
    """Raises Conflict when the name is taken."""
    await add(tx, users, _columns(user), f"There is a user {user.name!r} already.")


async def user(tx: Tx, ref: str) -> User | None:
    """By id or name."""
    row = (await tx.execute(select(users).where(or_(users.c.id == ref, users.c.name == ref)))).first()
    return _user(row) if row else None


async def list_users(tx: Tx, limit: int, after: str | None = None) -> list[User]:
    """Newest first."""
    return [_user(row) for row in await tx.execute(newest(select(users), users.c.id, limit, after))]


async def count_users(tx: Tx) -> int:
    """How many users there are; 0 means that this instance was never started."""
    return int((await tx.execute(select(func.count()).select_from(users))).scalar_one())


async def save_user(tx: Tx, user: User) -> None:
    """Write changed roles, password or standing; gateways look again at the user's keys."""
    values = {k: v for k, v in _columns(user).items() if k in ("password_hash", "roles", "disabled")}
    await tx.execute(update(users).where(users.c.id == user.id).values(values))
    await note_keys_of(tx, user.id)


async def add_session(tx: Tx, session: Session) -> None:
    """Open a session."""
    values = {
        name: getattr(session, name) for name in ("id", "user_id", "prefix", "digest", "created_at", "expires_at")
    }
    await tx.execute(insert(sessions).values(values))


async def session_by_prefix(tx: Tx, prefix: str) -> Session | None:
    """The session, expired or not."""
    row = (await tx.execute(select(sessions).where(sessions.c.prefix == prefix))).first()
    return Session(**row._mapping) if row else None


async def end_session(tx: Tx, session_id: str) -> None:
    """Close one session."""
    await tx.execute(delete(sessions).where(sessions.c.id == session_id))


async def end_sessions_of(tx: Tx, user_id: str) -> None:
    """Close all of a user's sessions."""
    await tx.execute(delete(sessions).where(sessions.c.user_id == user_id))


async def purge_sessions(tx: Tx, now: float) -> None:
    """Drop what has expired."""
    await tx.execute(delete(sessions).where(sessions.c.expires_at < now))
