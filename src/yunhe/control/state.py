"""What the parts of one control process share; made once by the composition root."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yunhe.control.followers import Followers
from yunhe.control.hub import Hub
from yunhe.control.log_exchange import LogExchange
from yunhe.control.stats import StatsRing

if TYPE_CHECKING:
    from yunhe.adapt.signing import SigningKey
    from yunhe.core.clock import Clock
    from yunhe.core.home import Home
    from yunhe.store.database import Database


@dataclass(frozen=True, slots=True)
class Secrets:
    """The instance's secrets; never logged, never sent."""

    #: HMAC key of every credential's digest.
    pepper: bytes = field(repr=False)
    #: Bearer of /internal/*.
    internal_token: str = field(repr=False)
    #: Ed25519: signs the recipes that are made here.
    signing_key: SigningKey = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ControlState:
    """Database, clock, wake-ups and memory of one control process."""

    home: Home
    db: Database
    clock: Clock
    secrets: Secrets
    #: Unix seconds.
    started_at: float
    #: Names this instance in the controllers' lease: host and data directory, so that a process started anew after a
    #: crash takes its predecessor's lease over at once.
    instance: str
    hub: Hub
    stats: StatsRing
    logs: LogExchange
    followers: Followers


def build_state(home: Home, db: Database, clock: Clock, secrets: Secrets) -> ControlState:
    """A fresh process's state."""
    hub = Hub()
    return ControlState(
        home=home,
        db=db,
        clock=clock,
        secrets=secrets,
        started_at=clock.unix_s(),
        instance=f"{platform.node()}:{home.root}",
        hub=hub,
        stats=StatsRing(),
        logs=LogExchange(hub),
        followers=Followers(),
    )
