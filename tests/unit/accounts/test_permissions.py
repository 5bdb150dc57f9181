"""Who may do and see what."""

import pytest

from yunhe.accounts import permissions
from yunhe.accounts.model import Principal, Role, Scope
from yunhe.core.errors import Forbidden, NotFound

ALL = frozenset(Scope)


def principal(
    *platform: Role, projects: dict[str, Role] | None = None, scopes: frozenset[Scope] = ALL, key: str | None = None
) -> Principal:
    return Principal("user_1", "ada", frozenset(platform), projects or {}, scopes, key)


def test_an_admin_sees_and_owns_every_project() -> None:
    admin = principal(Role.PLATFORM_ADMIN)
    assert permissions.owns_project(admin, "proj_x")
    permissions.require_admin(admin)
    permissions.require_operator(admin)


def test_an_operator_is_no_admin() -> None:
    operator = principal(Role.CENTRE_OPERATOR)
    permissions.require_operator(operator)
    with pytest.raises(Forbidden) as refused:
        permissions.require_admin(operator)
    assert refused.value.details == {"needed_role": "platform_admin"}


def test_a_member_sees_but_does_not_own() -> None:
    member = principal(projects={"proj_a": Role.MEMBER})
    permissions.require_member(member, "proj_a")
    with pytest.raises(Forbidden):
        permissions.require_owner(member, "proj_a")


def test_a_stranger_is_not_told_that_a_project_exists() -> None:
    owner_elsewhere = principal(projects={"proj_a": Role.PROJECT_OWNER})
    for check in (permissions.require_member, permissions.require_owner):
        with pytest.raises(NotFound):
            check(owner_elsewhere, "proj_b")


def test_a_key_stays_within_its_project() -> None:
    both = {"proj_a": Role.PROJECT_OWNER, "proj_b": Role.PROJECT_OWNER}
    key = principal(projects=both, key="proj_a")
    permissions.require_owner(key, "proj_a")
    with pytest.raises(NotFound):
        permissions.require_owner(key, "proj_b")


def test_only_a_manage_key_carries_its_owners_platform_role() -> None:
    scopes = frozenset({Scope.READ, Scope.INFERENCE})
    read_key = principal(Role.PLATFORM_ADMIN, projects={"proj_a": Role.PROJECT_OWNER}, scopes=scopes, key="proj_a")
    with pytest.raises(Forbidden):
        permissions.require_admin(read_key)
    assert not permissions.sees_project(read_key, "proj_b")
    manage_key = principal(Role.PLATFORM_ADMIN, scopes=frozenset({Scope.MANAGE}), key="proj_a")
    permissions.require_admin(manage_key)
    assert permissions.owns_project(manage_key, "proj_b")


def test_a_key_whose_owner_left_the_project_sees_nothing() -> None:
    key = principal(key="proj_a")
    with pytest.raises(NotFound):
        permissions.require_member(key, "proj_a")


def test_a_read_key_of_an_admin_sees_its_project_without_a_membership() -> None:
    key = principal(Role.PLATFORM_ADMIN, scopes=frozenset({Scope.READ}), key="proj_a")
    permissions.require_member(key, "proj_a")
    with pytest.raises(Forbidden):
        permissions.require_owner(key, "proj_a")
