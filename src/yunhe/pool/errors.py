"""What can go wrong with centres."""

from __future__ import annotations

from yunhe.core.errors import InvalidRequest, Unavailable


class CentreUnavailable(Unavailable):
    """The centre's engine does not answer."""

    code = "centre_unavailable"
    default_next_step = "Check the centre's own engine; the agent tries again by itself."


class WorkloadRejected(InvalidRequest):
    """The centre can never run this workload."""

    code = "workload_rejected"
    default_next_step = "Read the reason, then change what the workload asks for."
