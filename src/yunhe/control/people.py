"""Users, and who belongs to a project."""

from __future__ import annotations

from dataclasses import dataclass, replace

from yunhe.accounts.model import Membership, Principal, Project, Role, User
from yunhe.control.page import Page, page_of
from yunhe.control.passwords import Passwords
from yunhe.control.principals import Principals
from yunhe.control.state import ControlState
from yunhe.core.errors import Conflict, NotFound
from yunhe.core.ids import new_id
from yunhe.store import projects, users


@dataclass(frozen=True, slots=True)
class MemberView:
    """A membership with its user's name."""

    membership: Membership
    user_name: str


@dataclass(frozen=True, slots=True)
class UserChange:
    """Fields to change; None leaves them."""

    disabled: bool | None = None
    password: str | None = None
    roles: frozenset[Role] | None = None


class People:
    """Users and memberships. Whether the caller may is checked before, by the caller of these."""

    def __init__(self, state: ControlState, principals: Principals, passwords: Passwords) -> None:
        self._state = state
        self._principals = principals
        self._passwords = passwords

    async def users(self, limit: int, after: str | None) -> Page[User]:
        """All users, newest first."""
        async with self._state.db.read() as tx:
            return page_of(await users.list_users(tx, limit + 1, after), limit, lambda user: user.id)

    async def create_user(self, name: str, password: str, roles: frozenset[Role]) -> User:
        """Raises Conflict when the name is taken."""
        encoded = await self._passwords.hash(password)
        user = User(new_id("user"), name, encoded, roles, self._state.clock.unix_s())
        async with self._state.db.write() as tx:
            await users.add_user(tx, user)
        return user

    async def change_user(self, caller: Principal, ref: str, change: UserChange) -> User:
        """Change a user; disabling or a new password ends the user's sessions.

        Raises NotFound, and Conflict for what would lock the caller out: disabling oneself, or giving up admin.
        """
        encoded = None if change.password is None else await self._passwords.hash(change.password)
        async with self._state.db.write() as tx:
            user = await users.user(tx, ref)
            if user is None:
                raise NotFound(f"There is no user {ref!r}.", next_step="List them: yunhe user list.")
            if user.id == caller.user_id:
                _keep_the_caller_in(change)
            changed = replace(
                user,
                disabled=user.disabled if change.disabled is None else change.disabled,
                password_hash=encoded or user.password_hash,
                roles=user.roles if change.roles is None else change.roles,
            )
            await users.save_user(tx, changed)
            if encoded is not None or changed.disabled:
                await users.end_sessions_of(tx, user.id)
        self._principals.forget(user.id)
        return changed

    async def members(self, project: Project, limit: int, after: str | None) -> Page[MemberView]:
        """A project's members, newest first."""
        async with self._state.db.read() as tx:
            listed = await projects.list_members(tx, project.id, limit + 1, after)
            page = page_of(listed, limit, lambda member: member.id)
            views = []
            for member in page.items:
                user = await users.user(tx, member.user_id)
                views.append(MemberView(member, member.user_id if user is None else user.name))
        return Page(tuple(views), page.next)

    async def add_member(self, project: Project, user_ref: str, role: Role) -> MemberView:
        """Make a user a member with that role, or give a member that role. Raises NotFound for an unknown user."""
        async with self._state.db.write() as tx:
            user = await users.user(tx, user_ref)
            if user is None:
                raise NotFound(f"There is no user {user_ref!r}.", next_step="A platform admin can make one.")
            old = [m for m in await projects.memberships_of(tx, user.id) if m.project_id == project.id]
            member = Membership(old[0].id if old else new_id("mem"), user.id, project.id, role)
            for former in old:
                await projects.remove_member(tx, project.id, former.id)
            await projects.add_member(tx, member)
        self._principals.forget(user.id)
        return MemberView(member, user.name)

    async def remove_member(self, project: Project, membership_id: str) -> None:
        """Take a membership away. Raises NotFound when the project has no such one."""
        async with self._state.db.write() as tx:
            if not await projects.remove_member(tx, project.id, membership_id):
                raise NotFound("The project has no such membership.", next_step="List them: yunhe project members.")
        self._principals.forget()


def _keep_the_caller_in(change: UserChange) -> None:
    loses_admin = change.roles is not None and Role.PLATFORM_ADMIN not in change.roles
    if change.disabled or loses_admin:
        raise Conflict("You cannot lock yourself out.", next_step="Let another platform admin do it.")
