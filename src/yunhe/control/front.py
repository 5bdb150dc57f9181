"""One ASGI app of two: the machine routes, and everything else to the public API."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

#: Requests under these go to the machine routes.
MACHINE_PREFIXES = ("/internal/", "/api/v1/agent/", "/healthz")


class Front:
    """Sends each request to the app that it is for."""

    def __init__(self, machine: ASGIApp, public: ASGIApp) -> None:
        self._machine = machine
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        is_machine = scope["type"] == "http" and scope["path"].startswith(MACHINE_PREFIXES)
        await (self._machine if is_machine else self._public)(scope, receive, send)
