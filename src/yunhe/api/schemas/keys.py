"""API keys."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field

from yunhe.accounts.model import Scope
from yunhe.api.schemas.fields import Input, Limit, ModelName, Output, Reference, Scopes, Time, Title
from yunhe.control.keys import KeyAsk, KeyView

EXPIRES_IN_S_MAX = 10 * 365 * 86_400.0


def _fields(view: KeyView) -> dict[str, Any]:
    key = view.key
    return {
        "id": key.id,
        "project_id": key.project_id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "rpm_limit": key.rpm_limit,
        "tpm_limit": key.tpm_limit,
        "models": key.models,
        "created_by": view.created_by,
    }


class Key(Output):
    """An API key without its secret."""

    id: str
    project_id: str
    name: str
    prefix: str = Field(description="Public part of the key; safe to show.")
    scopes: Scopes
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    rpm_limit: int | None
    tpm_limit: int | None
    models: list[str] | None = Field(description="The models that it may call; null is all.")
    created_by: str = Field(description="Name of the user who made it.")

    @classmethod
    def of_view(cls, view: KeyView) -> Self:
        """The shape of a key with its maker."""
        return cls(**_fields(view))


class NewKey(Input):
    """A key to make; it can never do more than the user who makes it."""

    name: Title
    project: Reference | None = None
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=3)] = (Scope.INFERENCE, Scope.READ)
    expires_in_s: Annotated[float, Field(gt=0, le=EXPIRES_IN_S_MAX, strict=True)] | None = None
    rpm_limit: Limit | None = None
    tpm_limit: Limit | None = None
    models: Annotated[list[ModelName], Field(min_length=1, max_length=100)] | None = None

    def ask(self) -> KeyAsk:
        """The wish as the service takes it."""
        return KeyAsk(
            name=self.name,
            scopes=frozenset(self.scopes),
            expires_in_s=self.expires_in_s,
            rpm_limit=self.rpm_limit,
            tpm_limit=self.tpm_limit,
            models=None if self.models is None else tuple(self.models),
        )


class KeyWithSecret(Key):
    """A new key; `secret` is the whole key text and is shown only here."""

    secret: str

    @classmethod
    def of_new(cls, view: KeyView, secret: str) -> Self:
        """The shape of a key just made."""
        return cls(**_fields(view), secret=secret)
