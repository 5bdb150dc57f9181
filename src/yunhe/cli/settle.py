"""Waiting until a deployment is what it shall be."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from yunhe.cli.errors import StillPending
from yunhe.cli.output import waiting
from yunhe.sdk import NotFound

if TYPE_CHECKING:
    from yunhe.sdk import Client
    from yunhe.sdk.deployments import Deployment
    from yunhe.sdk.rollouts import Rollout

T = TypeVar("T")
POLL_S = 0.5


def wait_settled(api: Client, deployment: Deployment, timeout_s: float) -> Deployment:
    """Wait until exactly the wanted replicas of its newest generation live and are ready. Raises StillPending."""

    def look(tell: Callable[[str], None]) -> Deployment | None:
        now = api.deployments.get(deployment.id)
        replicas = [replica for replica in api.replicas.list(now.id) if replica.share is None]
        ready = [replica for replica in replicas if replica.state == "ready" and replica.generation == now.generation]
        going = [replica for replica in replicas if replica.state in ("draining", "stopping")]
        if len(ready) >= now.replicas and len(replicas) == len(ready) + len(going):
            return now
        tell(f"{now.name}: {len(ready)} of {now.replicas} replicas ready; {now.reason or now.state}")
        return None

    return _wait(deployment.name, look, timeout_s)


def wait_rolled_out(api: Client, rollout: Rollout, timeout_s: float) -> Rollout:
    """Wait until it has ended, either way. Raises StillPending."""

    def look(tell: Callable[[str], None]) -> Rollout | None:
        now = api.rollouts.get(rollout.deployment_id, rollout.id)
        if not now.open:
            return now
        seen = now.figures
        told = f"{seen.requests} of {now.policy.requests_min} requests, {seen.errors} errors"
        tell(f"{now.recipe.name} ({now.stage}): {told if seen.requests else now.progress}")
        return None

    return _wait(rollout.deployment, look, timeout_s)


def wait_gone(api: Client, deployment: Deployment, timeout_s: float) -> Deployment:
    """Wait until it has drained and is no more. Raises StillPending."""

    def look(tell: Callable[[str], None]) -> Deployment | None:
        try:
            now = api.deployments.get(deployment.id)
        except NotFound:
            return deployment
        tell(f"{now.name}: {now.reason or now.state}")
        return None

    return _wait(deployment.name, look, timeout_s)


def _wait(name: str, look: Callable[[Callable[[str], None]], T | None], timeout_s: float) -> T:
    deadline = time.monotonic() + timeout_s
    last = [name]

    with waiting(name) as show:

        def tell(text: str) -> None:
            last[0] = text
            show(text)

        while True:
            if (settled := look(tell)) is not None:
                return settled
            if time.monotonic() + POLL_S > deadline:
                raise StillPending(
                    f"not there after {timeout_s:.0f} s ({last[0]})",
                    next_step=f"It goes on by itself; look with `yunhe deployment events {name}`.",
                )
            time.sleep(POLL_S)
