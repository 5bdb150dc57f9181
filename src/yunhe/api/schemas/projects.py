"""Organisations and projects."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from yunhe.api.schemas.fields import Input, Limit, Memo, Micro, Name, Output, Reference, Time, Title
from yunhe.control import directory
from yunhe.control.directory import ProjectView
from yunhe.core.clock import utc


class Organisation(Output):
    """A customer or an institution; owns projects."""

    id: str
    name: str
    created_at: Time


class NewOrganisation(Input):
    """An organisation to make."""

    name: Name


class Project(Output):
    """What keys, limits, deployments, usage and credit belong to."""

    id: str
    organisation_id: str
    name: str
    created_at: Time
    rpm_limit: int | None = Field(description="Requests a minute over all keys; null is no limit.")
    tpm_limit: int | None = Field(description="Tokens a minute over all keys; null is no limit.")
    suspended_reason: str | None = Field(description="Set when the project may not call models.")
    balance_micro: int
    available_micro: int = Field(description="Balance less what is leased to gateway workers.")

    @classmethod
    def of_view(cls, view: ProjectView) -> Self:
        """The shape of a project with its credit."""
        project = view.project
        return cls(
            id=project.id,
            organisation_id=project.organisation_id,
            name=project.name,
            created_at=utc(project.created_at),
            rpm_limit=project.rpm_limit,
            tpm_limit=project.tpm_limit,
            suspended_reason=project.suspended_reason,
            balance_micro=view.balance_micro,
            available_micro=view.available_micro,
        )


class NewProject(Input):
    """A project to make, in the default organisation unless one is named."""

    name: Name
    organisation_id: Reference | None = None
    rpm_limit: Limit | None = None
    tpm_limit: Limit | None = None


class ProjectChange(Input):
    """What is absent stays as it is; null takes a limit or a suspension away."""

    name: Name | None = None
    rpm_limit: Limit | None = None
    tpm_limit: Limit | None = None
    suspended_reason: Title | None = None

    def change(self) -> directory.ProjectChange:
        """The change as the service takes it."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return directory.ProjectChange(**given)


class NewCredit(Input):
    """Credit to add, or to take with a negative amount. The same reference twice posts once."""

    amount_micro: Annotated[Micro, Field(json_schema_extra={"not": {"const": 0}})]
    memo: Memo
    reference: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")] | None = None
