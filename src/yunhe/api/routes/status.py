"""Health of the parts."""

from __future__ import annotations

from fastapi import APIRouter

from yunhe.api.credentials import Caller
from yunhe.api.schemas.status import Status
from yunhe.api.services import Svc

router = APIRouter(tags=["status"])


@router.get("/status", operation_id="status_get")
async def get(_caller: Caller, svc: Svc) -> Status:
    """The instance at a glance: every part, its state, and what to do where it is not ok."""
    return Status.of(await svc.status.read())
