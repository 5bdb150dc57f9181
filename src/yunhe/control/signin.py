"""Sessions: sign in, sign out, the own password."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from typing import Final

from yunhe.accounts.keys import digest, make_text, prefix_of
from yunhe.accounts.model import Principal
from yunhe.control.directory import Directory, MeView
from yunhe.control.passwords import Passwords
from yunhe.control.principals import Principals, principal_of
from yunhe.control.state import ControlState
from yunhe.control.throttle import Throttle
from yunhe.core.errors import Forbidden, NotSignedIn
from yunhe.core.ids import new_id
from yunhe.store import users

log = logging.getLogger(__name__)

SESSION_S: Final = 7 * 86_400.0


class BadCredentials(NotSignedIn):
    """The user name or the password is wrong."""

    code = "bad_credentials"
    default_next_step = "Check both; `yunhe user password` (platform admin) sets a new one."


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session; the token exists only here and with its holder."""

    token: str
    expires_at: float
    user: MeView


class SignIn:
    """Signs users in and out."""

    def __init__(self, state: ControlState, principals: Principals, passwords: Passwords, directory: Directory) -> None:
        self._state = state
        self._principals = principals
        self._passwords = passwords
        self._directory = directory
        self._throttle = Throttle(state.clock)

    async def sign_in(self, user_name: str, password: str) -> SignedIn:
        """A new session. Raises BadCredentials, TooManyAttempts, Unavailable when too many sign in at once."""
        self._throttle.attempt(user_name)
        async with self._state.db.read() as tx:
            user = await users.user(tx, user_name)
        if user is not None and user.name != user_name:
            user = None
        matches = await self._passwords.matches(None if user is None else user.password_hash, password)
        if user is None or not matches:
            log.info("refused sign-in of user %s", ascii(user_name))
            raise BadCredentials
        if user.disabled:
            raise BadCredentials("This user is disabled.", next_step="Ask a platform admin.")
        self._throttle.succeeded(user_name)
        now = self._state.clock.unix_s()
        token, prefix = make_text("ys", os.urandom(40))
        session = users.Session(
            id=new_id("sess"),
            user_id=user.id,
            prefix=prefix,
            digest=digest(self._state.secrets.pepper, token),
            created_at=now,
            expires_at=now + SESSION_S,
        )
        async with self._state.db.write() as tx:
            await users.purge_sessions(tx, now)
            await users.add_session(tx, session)
            principal = await principal_of(tx, user)
        return SignedIn(token, session.expires_at, await self._directory.me(principal))

    async def sign_out(self, caller: Principal, token: str) -> None:
        """End the session of this token. Raises Forbidden for an API key."""
        prefix = prefix_of(token, "ys")
        if prefix is None:
            raise Forbidden("An API key is no session.", next_step="Revoke the key instead: yunhe key revoke.")
        async with self._state.db.write() as tx:
            session = await users.session_by_prefix(tx, prefix)
            if session is not None:
                await users.end_session(tx, session.id)
        self._principals.forget(caller.user_id)

    async def change_password(self, caller: Principal, token: str, old: str, new: str) -> None:
        """Set the caller's own password and end the caller's other sessions.

        Raises Forbidden for an API key and for a wrong old password, TooManyAttempts after too many of those.
        """
        prefix = prefix_of(token, "ys")
        if prefix is None:
            raise Forbidden("An API key cannot change a password.", next_step="Sign in with the password first.")
        self._throttle.attempt(caller.user_name)
        async with self._state.db.read() as tx:
            user = await users.user(tx, caller.user_id)
        if user is None or not await self._passwords.matches(user.password_hash, old):
            raise WrongPassword
        self._throttle.succeeded(caller.user_name)
        encoded = await self._passwords.hash(new)
        async with self._state.db.write() as tx:
            current = await users.user(tx, caller.user_id)
            session = await users.session_by_prefix(tx, prefix)
            if current is None or session is None:
                raise NotSignedIn("This session has ended.")
            await users.save_user(tx, replace(current, password_hash=encoded))
            await users.end_sessions_of(tx, current.id)
            await users.add_session(tx, session)
        self._principals.forget(caller.user_id)


class WrongPassword(Forbidden):
    """The old password is wrong."""

    code = "wrong_password"
    default_next_step = "Type the password that you signed in with; a platform admin can set a new one."
