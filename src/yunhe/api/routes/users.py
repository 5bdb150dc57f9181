"""Users."""

from __future__ import annotations

from fastapi import APIRouter

from yunhe.accounts import permissions
from yunhe.api.credentials import Caller
from yunhe.api.errors import documented
from yunhe.api.paging import Wanted, page_of
from yunhe.api.parameters import UserPath
from yunhe.api.schemas.fields import Page
from yunhe.api.schemas.people import NewUser, User, UserChange
from yunhe.api.services import Svc

router = APIRouter(tags=["user"])


@router.get("/users", operation_id="user_list")
async def list_all(caller: Caller, svc: Svc, page: Wanted) -> Page[User]:
    """All users (platform admin)."""
    permissions.require_admin(caller)
    return page_of("users", await svc.people.users(page.limit, page.after("users")), User.of)


@router.post("/users", status_code=201, operation_id="user_create", responses=documented(409, 413, 415))
async def create(body: NewUser, caller: Caller, svc: Svc) -> User:
    """Make a user (platform admin)."""
    permissions.require_admin(caller)
    return User.of(await svc.people.create_user(body.name, body.password, frozenset(body.roles)))


@router.patch("/users/{user}", operation_id="user_update", responses=documented(404, 409, 413, 415))
async def update(user: UserPath, body: UserChange, caller: Caller, svc: Svc) -> User:
    """Change a user (platform admin); disabling or a new password ends the user's sessions."""
    permissions.require_admin(caller)
    return User.of(await svc.people.change_user(caller, user, body.change()))
