"""Sessions, users and the caller itself."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from yunhe.accounts.model import Role
from yunhe.api.schemas.fields import (
    Flag,
    Input,
    Name,
    Output,
    Password,
    Reference,
    Roles,
    Scopes,
    Time,
    TypedPassword,
)
from yunhe.control import people

#: Roles that hold platform-wide; the others are given by membership in a project.
PlatformRole = Literal[Role.PLATFORM_ADMIN, Role.CENTRE_OPERATOR]


class SignIn(Input):
    """A user name and its password."""

    user: Annotated[str, Field(min_length=1, max_length=64)]
    password: TypedPassword


class MyProject(Output):
    """A project that the caller belongs to."""

    id: str
    name: str
    role: Role


class Me(Output):
    """Who is calling, and what the credential allows."""

    id: str
    name: str
    roles: Roles
    projects: list[MyProject]
    scopes: Scopes


class Session(Output):
    """A new session; `token` is shown only here (and set as the cookie yunhe_session)."""

    token: str
    expires_at: Time
    user: Me


class PasswordChange(Input):
    """The old password proves that it is you."""

    old: TypedPassword
    new: Password


class User(Output):
    """A person who signs in."""

    id: str
    name: str
    roles: Roles
    created_at: Time
    disabled: bool


class NewUser(Input):
    """A user to make; without roles it is an ordinary user."""

    name: Name
    password: Password
    roles: Annotated[tuple[PlatformRole, ...], Field(max_length=2)] = ()


class UserChange(Input):
    """What is absent or null stays as it is. Disabling or a new password ends the user's sessions."""

    disabled: Flag | None = None
    password: Password | None = None
    roles: Annotated[tuple[PlatformRole, ...], Field(max_length=2)] | None = None

    def change(self) -> people.UserChange:
        """The change as the service takes it."""
        return people.UserChange(
            disabled=self.disabled,
            password=self.password,
            roles=None if self.roles is None else frozenset(self.roles),
        )


class UserRef(Output):
    """A user, named."""

    id: str
    name: str


class Membership(Output):
    """A user's role in a project."""

    id: str
    user: UserRef
    role: Role

    @classmethod
    def of_view(cls, view: people.MemberView) -> Self:
        """The shape of a membership with its user."""
        member = view.membership
        return cls(id=member.id, user=UserRef(id=member.user_id, name=view.user_name), role=member.role)


class NewMembership(Input):
    """Adding a user who is a member already changes the role."""

    user: Reference
    role: Literal[Role.PROJECT_OWNER, Role.MEMBER]
