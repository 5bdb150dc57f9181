"""The records of accounts. Times are float unix seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a user is, platform-wide (the first two) or within one project (the last two)."""

    PLATFORM_ADMIN = "platform_admin"
    CENTRE_OPERATOR = "centre_operator"
    PROJECT_OWNER = "project_owner"
    MEMBER = "member"


class Scope(StrEnum):
    """What an API key is good for; a key never allows more than its owner's roles do."""

    #: Call models through /v1.
    INFERENCE = "inference"
    #: Read the project's usage, balance, models and deployments through /api/v1.
    READ = "read"
    #: Everything that the owner's roles allow through /api/v1.
    MANAGE = "manage"


@dataclass(frozen=True, slots=True)
class Organisation:
    """A customer or an institution; owns projects."""

    id: str
    name: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Project:
    """What keys, limits, deployments, usage and credit belong to."""

    id: str
    organisation_id: str
    name: str
    created_at: float
    #: Requests and tokens a minute over all keys; None is no limit.
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    #: A reason, shown to callers, when the project may not call models; None when it may.
    suspended_reason: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """A person who signs in."""

    id: str
    name: str
    #: argon2id, encoded form; never leaves store and the sign-in check.
    password_hash: str
    #: Platform-wide roles only.
    roles: frozenset[Role]
    created_at: float
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Membership:
    """A user's role in a project."""

    id: str
    user_id: str
    project_id: str
    role: Role


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret: the secret exists only in the holder's hands."""

    id: str
    project_id: str
    user_id: str
    name: str
    #: Public part by which a key is looked up; safe to show and log.
    prefix: str
    #: HMAC-SHA256 of the whole key text under the instance's pepper, hexadecimal.
    digest: str
    scopes: frozenset[Scope]
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    #: Names of the models that this key may call; None is all.
    models: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling, after the credential was checked."""

    user_id: str
    user_name: str
    platform_roles: frozenset[Role]
    #: project id -> role
    project_roles: dict[str, Role]
    #: What the credential allows; a browser session holds all three.
    scopes: frozenset[Scope]
    #: The project that the API key belongs to; None for a browser session.
    key_project_id: str | None = None
