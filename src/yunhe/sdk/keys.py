"""API keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from yunhe.sdk.records import Record, Time
from yunhe.sdk.transport import Transport, segment


class Key(Record):
    """An API key without its secret. ``models`` None is all models."""

    id: str
    project_id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    rpm_limit: int | None
    tpm_limit: int | None
    models: list[str] | None
    created_by: str


class NewKey(Key):
    """A key just made; ``secret`` is the whole key text and is never shown again."""

    secret: str


class Keys:
    """/keys. ``key`` is an id or a prefix."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, key: str) -> Key:
        """One key. Raises NotFound."""
        return self._transport.one(Key, "GET", f"/keys/{segment(key)}")

    def create(
        self,
        name: str,
        *,
        project: str | None = None,
        scopes: Sequence[str] | None = None,
        expires_in_s: float | None = None,
        rpm_limit: int | None = None,
        tpm_limit: int | None = None,
        models: Sequence[str] | None = None,
    ) -> NewKey:
        """Make a key; its secret is in the answer and nowhere else. Raises ApiError."""
        body = {
            "name": name,
            "project": project,
            "scopes": None if scopes is None else [*scopes],
            "expires_in_s": expires_in_s,
            "rpm_limit": rpm_limit,
            "tpm_limit": tpm_limit,
            "models": None if models is None else [*models],
        }
        return self._transport.one(
            NewKey, "POST", "/keys", body={field: value for field, value in body.items() if value is not None}
        )

    def revoke(self, key: str) -> Key:
        """Revoke; gateways refuse it within two seconds. Raises NotFound."""
        return self._transport.one(Key, "DELETE", f"/keys/{segment(key)}")

    def list(self, project: str | None = None) -> Iterator[Key]:
        """The project's keys, newest first. Raises ApiError."""
        return self._transport.pages(Key, "/keys", {"project": project})
