"""Signing in, and who one is."""

from __future__ import annotations

from yunhe.sdk.records import Record, Time
from yunhe.sdk.transport import Transport


class MyProject(Record):
    """A project that the caller belongs to."""

    id: str
    name: str
    role: str


class Me(Record):
    """Who is calling, and what the credential allows."""

    id: str
    name: str
    roles: list[str]
    projects: list[MyProject]
    scopes: list[str]


class Session(Record):
    """A new session; ``token`` works as a key for /api/v1 until ``expires_at``."""

    token: str
    expires_at: Time
    user: Me


class Sessions:
    """POST /sessions, /me."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, user: str, password: str) -> Session:
        """Sign in. Raises NotSignedIn for a wrong password, LimitReached after too many."""
        return self._transport.one(Session, "POST", "/sessions", body={"user": user, "password": password})

    def end(self) -> None:
        """Sign the session out that this client's credential is."""
        self._transport.call("DELETE", "/sessions/current")

    def me(self) -> Me:
        """Who this client's credential belongs to. Raises NotSignedIn."""
        return self._transport.one(Me, "GET", "/me")

    def change_password(self, old: str, new: str) -> None:
        """Change one's own password. Raises ApiError."""
        self._transport.call("PUT", "/me/password", body={"old": old, "new": new})
