"""Control's two routes for agents, outbound only."""

from __future__ import annotations

from typing import Final, TypeVar

import httpx
import msgspec

from yunhe.serve.sync import JoinAnswer, JoinRequest, SyncAnswer, SyncRequest

T = TypeVar("T")
JOIN_TIMEOUT_S: Final = 30.0
#: Beyond the long poll's own wait.
ANSWER_MARGIN_S: Final = 15.0


class Refused(Exception):
    """Control knows this agent no more, or its token is not good."""


class Unanswered(Exception):
    """Control did not answer, or nothing that can be understood; trying again may help."""


class Control:
    """Talks to control, or to a gateway before it, at ``url``."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url.rstrip("/")

    async def join(self, request: JoinRequest) -> JoinAnswer:
        """Become the agent of the token's centre. Raises Refused, Unanswered."""
        return await self._post("/api/v1/agent/join", request, JoinAnswer, "", JOIN_TIMEOUT_S)

    async def sync(self, request: SyncRequest, token: str) -> SyncAnswer:
        """One exchange. Raises Refused, Unanswered."""
        return await self._post("/api/v1/agent/sync", request, SyncAnswer, token, request.wait_s + ANSWER_MARGIN_S)

    async def _post(self, path: str, body: object, kind: type[T], token: str, timeout_s: float) -> T:
        headers = {"content-type": "application/json"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        try:
            answer = await self._client.post(
                self._url + path, content=msgspec.json.encode(body), headers=headers, timeout=timeout_s
            )
        except httpx.HTTPError as error:
            raise Unanswered(f"no answer from {self._url} ({type(error).__name__})") from error
        except httpx.InvalidURL as error:
            raise Unanswered(f"{self._url!r} is not a URL: {error}") from error
        if answer.status_code in (401, 403):
            raise Refused(_reason(answer))
        if answer.status_code != 200:
            raise Unanswered(_reason(answer))
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.MsgspecError as error:
            raise Unanswered(f"{self._url} speaks another protocol: {error}") from error


def _reason(answer: httpx.Response) -> str:
    try:
        return f"{answer.status_code}: {answer.json()['error']['message']}"
    except (ValueError, LookupError, TypeError):
        return f"control answered {answer.status_code}"
