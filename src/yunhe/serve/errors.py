"""What can go wrong in serve."""

from __future__ import annotations

from yunhe.core.errors import YunheError


class IllegalTransition(YunheError):
    """A replica cannot go from its state to that one."""

    code = "illegal_transition"
    default_next_step = (
        "This is a fault in Yunhe: report it with the replica's events (yunhe logs, GET /api/v1/events)."
    )
