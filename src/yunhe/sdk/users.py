"""Users (platform admin)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from yunhe.sdk.records import Record, Time
from yunhe.sdk.transport import Transport, segment


class User(Record):
    """A person who signs in."""

    id: str
    name: str
    roles: list[str]
    created_at: Time
    disabled: bool


class Users:
    """/users. ``user`` is an id or a name."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str, password: str, *, roles: Sequence[str] = ()) -> User:
        """Make a user. Raises Conflict when the name is taken."""
        body = {"name": name, "password": password, "roles": [*roles]}
        return self._transport.one(User, "POST", "/users", body=body)

    def change(
        self,
        user: str,
        *,
        disabled: bool | None = None,
        password: str | None = None,
        roles: Sequence[str] | None = None,
    ) -> User:
        """Change what is not None. Disabling or a new password ends the user's sessions. Raises ApiError."""
        body: dict[str, object] = {}
        if disabled is not None:
            body["disabled"] = disabled
        if password is not None:
            body["password"] = password
        if roles is not None:
            body["roles"] = [*roles]
        return self._transport.one(User, "PATCH", f"/users/{segment(user)}", body=body)

    def list(self) -> Iterator[User]:
        """Every user. Raises ApiError."""
        return self._transport.pages(User, "/users")
