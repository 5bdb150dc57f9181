"""Credit in memory: leases of each project, held from at admission and settled to the real cost afterwards.

No sockets here: ``asks`` says what to request of control, ``granted`` and ``failed`` take the answer, and whoever
waits is called back. A project whose credit control refused is refused here until the snapshot shows new credit or a
second has passed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from yunhe.core.units import MICRO_PER_CREDIT, credits_text
from yunhe.gateway.options import OFFLINE_MICRO_MAX, OFFLINE_SHARE
from yunhe.gateway.refusal import out_of_credit
from yunhe.ledger.model import LeaseAsk, LeaseGrant

#: A lease covers about so many requests like the one that asked, or so many seconds of the spending seen.
_ASK_REQUESTS: Final = 16
_ASK_SECONDS: Final = 20.0
_WANT_MAX: Final = 100 * MICRO_PER_CREDIT
_REFUSAL_S: Final = 1.0
#: A lease this close to its end takes no new holds.
_EXPIRY_MARGIN_S: Final = 5.0
_IDLE_RELEASE_S: Final = 60.0
#: Where credit is scarce an idle lease is given back soon, for other workers may need it.
_SCARCE_RELEASE_S: Final = 0.5


class HeldLease:
    """A lease as this worker uses it."""

    __slots__ = ("expires_s", "free", "granted", "holds", "id", "idle_since_s", "last_record", "offline", "renew_s")

    def __init__(self, lease_id: str | None, granted: int, now_s: float, expires_s: float) -> None:
        self.id = lease_id
        self.granted = granted
        #: Granted, less what is held, less what was settled.
        self.free = granted
        self.holds = 0
        self.expires_s = expires_s
        self.renew_s = now_s + (expires_s - now_s) * 2 / 3
        self.idle_since_s = now_s
        #: Number of the last spooled record that names it; it may be given back once that is confirmed.
        self.last_record = 0
        self.offline = False


#: For models without a price.
FREE: Final = HeldLease(None, 0, 0.0, float("inf"))


class ProjectCredit:
    """One project's leases, newest first."""

    __slots__ = (
        "asked_s", "asking", "leases", "need", "offline", "offline_spent", "refused_reason", "refused_s", "scarce",
        "spent", "waiters", "want",
    )  # fmt: skip

    def __init__(self) -> None:
        self.leases: list[HeldLease] = []
        self.asking = False
        self.want = 0
        #: What the largest request that waits must have.
        self.need = 0
        self.asked_s = 0.0
        self.spent = 0
        self.refused_reason: str | None = None
        self.refused_s = 0.0
        self.scarce = False
        self.offline: HeldLease | None = None
        self.offline_spent = 0
        self.waiters: list[Callable[[], None]] = []


class CreditBook:
    """All projects' credit in this worker."""

    def __init__(self, workers: int, available: Callable[[str], int]) -> None:
        """``available`` tells what the snapshot called free, by project."""
        self._workers = max(1, workers)
        self._available = available
        self._projects: dict[str, ProjectCredit] = {}
        self._wanting: set[str] = set()
        self._releases: list[str] = []
        #: Control does not answer: holds come from the offline allowance.
        self.away = False

    def take(self, project_id: str, amount: int, now_s: float) -> HeldLease | None:
        """Hold ``amount``; None when the caller must wait for control (``wait``). Raises Refusal 429."""
        if amount <= 0:
            return FREE
        project = self._projects.get(project_id)
        if project is None:
            project = self._projects[project_id] = ProjectCredit()
        for lease in project.leases:
            if lease.free >= amount and now_s < lease.expires_s - _EXPIRY_MARGIN_S:
                lease.free -= amount
                lease.holds += 1
                if (lease.free < lease.granted >> 2 or now_s > lease.renew_s) and not project.asking:
                    self._want(project_id, project, amount, now_s, needed=False)
                return lease
        if self.away:
            return self._offline(project_id, project, amount, now_s)
        if project.refused_reason is not None and now_s < project.refused_s + _REFUSAL_S:
            raise out_of_credit(self._reason(project, amount))
        if not project.asking:
            self._want(project_id, project, amount, now_s, needed=True)
        return None

    def wait(self, project_id: str, callback: Callable[[], None]) -> None:
        """Call back when control has answered or failed to; once."""
        self._projects[project_id].waiters.append(callback)

    def settle(self, lease: HeldLease, amount: int, cost: int, project_id: str, record: int, now_s: float) -> None:
        """The request that held ``amount`` cost ``cost``; ``record`` is its number in the spool."""
        if lease is FREE:
            return
        lease.free += amount - cost
        lease.holds -= 1
        lease.idle_since_s = now_s
        lease.last_record = record
        project = self._projects.get(project_id)
        if project is not None:
            project.spent += cost
            if lease.offline:
                project.offline_spent += cost

    def _want(self, project_id: str, project: ProjectCredit, amount: int, now_s: float, *, needed: bool) -> None:
        if not needed and project.scarce and now_s < project.asked_s + _REFUSAL_S:
            # Little is left and control said so a moment ago: no asking ahead with every request.
            return
        elapsed = max(1.0, now_s - project.asked_s)
        rate = project.spent / elapsed
        wanted = max(amount * _ASK_REQUESTS, int(rate * _ASK_SECONDS))
        # Credit is shared: do not ask for what others need when little is left.
        share = self._available(project_id) // (2 * self._workers)
        project.want = max(amount, min(_WANT_MAX, wanted, share), project.want if project_id in self._wanting else 0)
        if needed:
            project.need = max(project.need, amount)
        self._wanting.add(project_id)

    def _offline(self, project_id: str, project: ProjectCredit, amount: int, now_s: float) -> HeldLease:
        budget = min(int(self._available(project_id) * OFFLINE_SHARE), OFFLINE_MICRO_MAX) // self._workers
        lease = project.offline
        if lease is None:
            lease = project.offline = HeldLease(None, budget, now_s, float("inf"))
            lease.offline = True
        if lease.free < amount:
            raise out_of_credit("the control plane is away and the allowance for that time is used up")
        lease.free -= amount
        lease.holds += 1
        return lease

    def _reason(self, project: ProjectCredit, amount: int) -> str:
        free = sum(max(0, lease.free) for lease in project.leases)
        return (
            f"{project.refused_reason} (this request may cost up to {credits_text(amount)} credits, "
            f"{credits_text(free)} are free here)"
        )

    def asks(self, now_s: float, confirmed_record: int) -> tuple[list[LeaseAsk], list[str]]:
        """What to send to control now: asks and ids of leases to give back."""
        asks = []
        for project_id in self._wanting:
            project = self._projects[project_id]
            project.asking = True
            project.asked_s = now_s
            project.spent = 0
            replaced = None
            for lease in project.leases:
                if lease.holds == 0 and lease.last_record <= confirmed_record:
                    replaced = lease
                    break
            if replaced is not None:
                project.leases.remove(replaced)
            asks.append(LeaseAsk(project_id, project.want, replaced.id if replaced else None, project.need))
            project.need = 0
        self._wanting.clear()
        self._retire(now_s, confirmed_record)
        releases, self._releases = self._releases, []
        return asks, releases

    def _retire(self, now_s: float, confirmed_record: int) -> None:
        """Mark for giving back what is superseded, idle, or expired."""
        for project_id, project in list(self._projects.items()):
            newest = project.leases[0] if project.leases else None
            for lease in list(project.leases):
                if lease.holds or lease.last_record > confirmed_record:
                    continue
                rest_s = _SCARCE_RELEASE_S if project.scarce else _IDLE_RELEASE_S
                if lease is not newest or now_s > lease.idle_since_s + rest_s or now_s > lease.expires_s:
                    project.leases.remove(lease)
                    if lease.id is not None:
                        self._releases.append(lease.id)
            quiet = not (project.leases or project.asking or project.waiters or project.offline)
            if quiet and now_s > project.asked_s + _IDLE_RELEASE_S and project_id not in self._wanting:
                del self._projects[project_id]

    def granted(self, grant: LeaseGrant, now_s: float, skew_s: float) -> None:
        """Control's answer to an ask. ``skew_s`` turns its wall times into monotonic ones."""
        project = self._projects.get(grant.project_id)
        if project is None:
            if grant.lease_id is not None:
                self._releases.append(grant.lease_id)
            return
        project.asking = False
        project.offline = None
        project.offline_spent = 0
        if grant.lease_id is None:
            project.refused_reason = grant.refused_reason or "the project has no credit left"
            project.refused_s = now_s
            project.scarce = True
        else:
            project.scarce = grant.granted_micro < project.want
            project.refused_reason = None
            lease = HeldLease(grant.lease_id, grant.granted_micro, now_s, grant.expires_at - skew_s)
            project.leases.insert(0, lease)
        self._call_waiters(project)

    def failed(self, project_ids: list[str], releases: list[str]) -> None:
        """Control did not answer an ask: those who wait go on with the offline allowance."""
        self._releases.extend(releases)
        for project_id in project_ids:
            project = self._projects.get(project_id)
            if project is not None:
                project.asking = False
                self._call_waiters(project)

    def stop_waiting(self) -> None:
        """Control takes too long: everybody who waits is called back."""
        for project in self._projects.values():
            self._call_waiters(project)

    def _call_waiters(self, project: ProjectCredit) -> None:
        waiters, project.waiters = project.waiters, []
        for callback in waiters:
            callback()

    def credit_arrived(self, project_id: str) -> None:
        """The snapshot shows credit: a refusal is out of date."""
        project = self._projects.get(project_id)
        if project is not None:
            project.refused_reason = None

    @property
    def pending(self) -> bool:
        """Whether ``asks`` has something urgent."""
        return bool(self._wanting)

    def release_all(self) -> list[str]:
        """For a worker that goes: every lease's id."""
        ids = [lease.id for project in self._projects.values() for lease in project.leases if lease.id is not None]
        ids.extend(self._releases)
        self._projects.clear()
        self._releases.clear()
        self._wanting.clear()
        return ids
