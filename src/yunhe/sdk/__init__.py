"""SDK: a typed Python client of the public API. Depends on no room, only on httpx and pydantic.

with Client("http://127.0.0.1:8420", key) as client:
    for deployment in client.deployments.list():
        print(deployment.name, deployment.state)
"""

from yunhe.sdk.client import Client
from yunhe.sdk.errors import (
    ApiError,
    Conflict,
    Forbidden,
    Interrupted,
    InvalidRequest,
    LimitReached,
    NotFound,
    NotSignedIn,
    Unavailable,
    Unreachable,
)

__all__ = [
    "ApiError",
    "Client",
    "Conflict",
    "Forbidden",
    "Interrupted",
    "InvalidRequest",
    "LimitReached",
    "NotFound",
    "NotSignedIn",
    "Unavailable",
    "Unreachable",
]
