"""Live metrics."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from yunhe.api.credentials import Caller
from yunhe.api.schemas.status import LiveMetrics
from yunhe.api.services import Svc

router = APIRouter(tags=["metrics"])


@router.get("/metrics/live", operation_id="metrics_live")
async def live(_caller: Caller, svc: Svc, window_s: Annotated[int, Query(ge=10, le=600)] = 300) -> LiveMetrics:
    """What the gateway's workers reported over the last `window_s` seconds; null where nothing was seen."""
    return LiveMetrics.of(svc.live.read(float(window_s)))
