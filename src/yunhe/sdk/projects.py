"""Organisations, projects and their members."""

from __future__ import annotations

from collections.abc import Iterator

from yunhe.sdk.records import Record, Time
from yunhe.sdk.transport import Transport, segment


class Organisation(Record):
    """A customer or an institution; owns projects."""

    id: str
    name: str
    created_at: Time


class Project(Record):
    """What keys, limits, deployments, usage and credit belong to. Limits: None is no limit."""

    id: str
    organisation_id: str
    name: str
    created_at: Time
    rpm_limit: int | None
    tpm_limit: int | None
    suspended_reason: str | None
    balance_micro: int
    available_micro: int


class UserRef(Record):
    """A user, named."""

    id: str
    name: str


class Membership(Record):
    """A user's role in a project."""

    id: str
    user: UserRef
    role: str


class Organisations:
    """/organisations."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str) -> Organisation:
        """Make an organisation (platform admin). Raises ApiError."""
        return self._transport.one(Organisation, "POST", "/organisations", body={"name": name})

    def list(self) -> Iterator[Organisation]:
        """Every organisation that one may see. Raises ApiError."""
        return self._transport.pages(Organisation, "/organisations")


class Projects:
    """/projects. ``project`` is an id or a name everywhere."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, project: str) -> Project:
        """One project. Raises NotFound."""
        return self._transport.one(Project, "GET", f"/projects/{segment(project)}")

    def create(
        self,
        name: str,
        *,
        organisation_id: str | None = None,
        rpm_limit: int | None = None,
        tpm_limit: int | None = None,
    ) -> Project:
        """Make a project (platform admin). Raises Conflict when the name is taken."""
        body = {"name": name, "organisation_id": organisation_id, "rpm_limit": rpm_limit, "tpm_limit": tpm_limit}
        return self._transport.one(
            Project, "POST", "/projects", body={field: value for field, value in body.items() if value is not None}
        )

    def change(self, project: str, **changes: str | int | None) -> Project:
        """Change ``name``, ``rpm_limit``, ``tpm_limit`` or ``suspended_reason``; None takes a limit away."""
        return self._transport.one(Project, "PATCH", f"/projects/{segment(project)}", body=changes)

    def members(self, project: str) -> Iterator[Membership]:
        """Who belongs to it. Raises ApiError."""
        return self._transport.pages(Membership, f"/projects/{segment(project)}/members")

    def add_member(self, project: str, user: str, role: str) -> Membership:
        """Add a user, or change the role of one who is a member already. Raises ApiError."""
        path = f"/projects/{segment(project)}/members"
        return self._transport.one(Membership, "POST", path, body={"user": user, "role": role})

    def remove_member(self, project: str, membership_id: str) -> None:
        """Take a membership away. Raises ApiError."""
        self._transport.call("DELETE", f"/projects/{segment(project)}/members/{segment(membership_id)}")

    def list(self) -> Iterator[Project]:
        """Every project that one may see. Raises ApiError."""
        return self._transport.pages(Project, "/projects")
