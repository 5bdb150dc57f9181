"""What a principal may do and see. Pure; every door asks here.

A key stands for its owner, but within its own project and its scopes: only a key with the scope ``manage`` carries its
owner's platform-wide roles.
"""

from __future__ import annotations

from yunhe.accounts.model import Principal, Role, Scope
from yunhe.core.errors import Forbidden, NotFound


def holds_platform_role(principal: Principal, role: Role) -> bool:
    """Whether a platform-wide role counts for this credential; a platform admin holds them all."""
    if principal.key_project_id is not None and Scope.MANAGE not in principal.scopes:
        return False
    return bool(principal.platform_roles & {role, Role.PLATFORM_ADMIN})


def is_admin(principal: Principal) -> bool:
    """Whether everything is open to this credential."""
    return holds_platform_role(principal, Role.PLATFORM_ADMIN)


def sees_project(principal: Principal, project_id: str) -> bool:
    """Whether the project, and what belongs to it, may be shown."""
    if is_admin(principal):
        return True
    if principal.key_project_id not in (None, project_id):
        return False
    if principal.key_project_id == project_id and Role.PLATFORM_ADMIN in principal.platform_roles:
        return True
    return project_id in principal.project_roles


def owns_project(principal: Principal, project_id: str) -> bool:
    """Whether what belongs to the project may be changed."""
    if is_admin(principal):
        return True
    return sees_project(principal, project_id) and principal.project_roles.get(project_id) is Role.PROJECT_OWNER


def require_admin(principal: Principal) -> None:
    """Raises Forbidden unless the principal is a platform admin."""
    _require(is_admin(principal), Role.PLATFORM_ADMIN)


def require_operator(principal: Principal) -> None:
    """Raises Forbidden unless the principal is a centre operator or a platform admin."""
    _require(holds_platform_role(principal, Role.CENTRE_OPERATOR), Role.CENTRE_OPERATOR)


def require_member(principal: Principal, project_id: str) -> None:
    """Raises NotFound unless the project may be shown: whether it exists is not told to strangers."""
    if not sees_project(principal, project_id):
        raise NotFound


def require_owner(principal: Principal, project_id: str) -> None:
    """Raises NotFound when the project may not be shown, Forbidden when it may not be changed."""
    require_member(principal, project_id)
    _require(owns_project(principal, project_id), Role.PROJECT_OWNER)


def _require(allowed: bool, role: Role) -> None:
    if not allowed:
        raise Forbidden(f"This needs the role {role}.", needed_role=str(role))
