"""Who stands behind a credential."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from yunhe.accounts.keys import digest, prefix_of
from yunhe.accounts.model import Principal, Scope, User
from yunhe.control.state import ControlState
from yunhe.core.errors import NotSignedIn
from yunhe.store import keys, projects, users
from yunhe.store.database import Tx

#: Credentials remembered; the one unused longest is forgotten first.
REMEMBERED_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class _Known:
    """A credential found good before."""

    digest: str
    user_id: str
    expires_at: float | None
    principal: Principal


class Principals:
    """Resolves bearer tokens: session tokens (``ys_``) and API keys (``yh_``).

    Remembers what it found, without an age limit: whoever changes a user, a membership, a key or a session calls
    ``forget``. Only where this process is the database's only writer (SQLite); elsewhere every call asks the database.
    """

    def __init__(self, state: ControlState) -> None:
        self._state = state
        self._remembers = state.db.dialect == "sqlite"
        self._known: OrderedDict[str, _Known] = OrderedDict()
        #: Grows with every ``forget``, so that what was read before it is not remembered after it.
        self._changes = 0

    async def of_token(self, token: str) -> Principal:
        """The principal that a token stands for. Raises NotSignedIn when it is unknown, expired, revoked or ended."""
        if not token.isascii():
            raise NotSignedIn
        found = digest(self._state.secrets.pepper, token)
        now = self._state.clock.unix_s()
        known = self._known.get(found)
        if known is None:
            changes = self._changes
            known = await self._read(token, found)
            if self._remembers and changes == self._changes:
                self._known[found] = known
                while len(self._known) > REMEMBERED_MAX:
                    self._known.popitem(last=False)
        else:
            self._known.move_to_end(found)
        if known.expires_at is not None and known.expires_at <= now:
            raise NotSignedIn("This credential has expired.")
        return known.principal

    def forget(self, user_id: str | None = None) -> None:
        """Forget a user's credentials, or everybody's."""
        self._changes += 1
        gone = [key for key, known in self._known.items() if user_id in (None, known.user_id)]
        for key in gone:
            del self._known[key]

    async def _read(self, token: str, found: str) -> _Known:
        async with self._state.db.read() as tx:
            if (prefix := prefix_of(token, "ys")) is not None:
                return await _of_session(tx, prefix, found)
            if (prefix := prefix_of(token, "yh")) is not None:
                return await _of_key(tx, prefix, found)
        raise NotSignedIn("This is neither a session token nor an API key of this instance.")


async def _of_session(tx: Tx, prefix: str, found: str) -> _Known:
    session = await users.session_by_prefix(tx, prefix)
    if session is None or not hmac.compare_digest(session.digest, found):
        raise NotSignedIn("This session has ended.")
    principal = await _principal(tx, session.user_id, frozenset(Scope), None)
    return _Known(found, session.user_id, session.expires_at, principal)


async def _of_key(tx: Tx, prefix: str, found: str) -> _Known:
    key = await keys.key(tx, prefix)
    if key is None or not hmac.compare_digest(key.digest, found):
        raise NotSignedIn("There is no such key.")
    if key.revoked_at is not None:
        raise NotSignedIn("This key was revoked.")
    principal = await _principal(tx, key.user_id, key.scopes, key.project_id)
    return _Known(found, key.user_id, key.expires_at, principal)


async def _principal(tx: Tx, user_id: str, scopes: frozenset[Scope], key_project_id: str | None) -> Principal:
    user = await users.user(tx, user_id)
    if user is None or user.disabled:
        raise NotSignedIn("This user is disabled.", next_step="Ask a platform admin.")
    return await principal_of(tx, user, scopes, key_project_id)


async def principal_of(
    tx: Tx, user: User, scopes: frozenset[Scope] = frozenset(Scope), key_project_id: str | None = None
) -> Principal:
    """The principal of a user with these scopes; without others, as in a session of the user."""
    roles = {member.project_id: member.role for member in await projects.memberships_of(tx, user.id)}
    return Principal(user.id, user.name, user.roles, roles, scopes, key_project_id)
