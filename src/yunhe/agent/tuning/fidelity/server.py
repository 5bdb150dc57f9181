"""The server that is measured, and requests to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

import httpx
import msgspec

from yunhe.adapt.fidelity import InvalidEvidence
from yunhe.core.errors import InvalidRequest, Unavailable

#: No single request of a measurement takes longer; a prompt of a whole context on a slow chip takes minutes.
REQUEST_LIMIT_S: Final = 300.0
#: How the server gives log-probabilities. ``stepwise``: of one next token at each request (``/completion`` with
#: ``n_probs``). ``whole_prompt``: of all tokens of a prompt at once (``/v1/completions`` with ``prompt_logprobs``).
Dialect = Literal["stepwise", "whole_prompt"]
#: Called with what is done and what there is in all.
Progress = Callable[[int, int], None]

T = TypeVar("T")
Item = TypeVar("Item")


class MeasurementFailed(Unavailable):
    """The server did not answer a measurement."""

    code = "measurement_failed"
    default_next_step = "Look at the log of the candidate; then measure again."


class MeasurementTooSlow(MeasurementFailed):
    """A measurement took longer than its limit."""

    code = "measurement_too_slow"
    default_next_step = "Measure on an idle chip, or leave this part out."


class MeasurementRefused(InvalidRequest):
    """The server refuses what this measurement needs."""

    code = "measurement_refused"
    default_next_step = "Start the server with the options that allow it; what it said is in the message."


@dataclass(frozen=True, slots=True)
class Server:
    """A server that nobody else uses while it is measured."""

    #: Before ``/v1``.
    base_url: str
    api_key: str | None = field(repr=False)
    upstream_model: str
    #: Requests that it serves at once.
    slots: int
    #: Of one slot, in tokens.
    context_length: int
    dialect: Dialect = "stepwise"


class Exchange:
    """Requests to one server; made by ``connected``."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def post(self, path: str, body: dict[str, Any], kind: type[T], limit_s: float = REQUEST_LIMIT_S) -> T:
        """Send JSON and decode the answer.

        Raises MeasurementFailed when there is no answer (MeasurementTooSlow when none came in time),
        MeasurementRefused when it is a refusal, and InvalidEvidence when it is of another shape.
        """
        try:
            response = await self._client.post(path, content=msgspec.json.encode(body), timeout=limit_s)
        except httpx.TimeoutException:
            raise MeasurementTooSlow(f"{path}: no answer within {limit_s:.0f} s", path=path) from None
        except httpx.HTTPError as error:
            raise MeasurementFailed(f"{path}: {type(error).__name__}: {error}", path=path) from error
        if response.status_code != 200:
            said = f"{path}: status {response.status_code}: {response.text[:300]}"
            if 400 <= response.status_code < 500:
                raise MeasurementRefused(said, path=path, status=response.status_code)
            raise MeasurementFailed(said, path=path, status=response.status_code)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except msgspec.MsgspecError as error:
            raise InvalidEvidence(f"{path}: the answer has another shape: {error}", path=path) from error


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Exchange]:
    """Requests to this server; connections are kept, and closed at the end."""
    headers = {"content-type": "application/json"}
    if server.api_key:
        headers["authorization"] = f"Bearer {server.api_key}"
    # No limit of connections: the number of slots is the limit. Proxies of the environment are not for this.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(
        base_url=server.base_url, headers=headers, limits=limits, trust_env=False, follow_redirects=False
    ) as client:
        yield Exchange(client)


async def over_slots(
    slots: int, items: Iterable[Item], work: Callable[[Item, int], Any], *, limit_s: float, what: str
) -> list[Any]:
    """Work on all items, one at a time in each slot; results in the order of the items.

    ``work`` is called with the item and the number of the slot, and awaited. The first error ends all and is raised;
    MeasurementTooSlow when all together take longer than ``limit_s``.
    """
    waiting = list(enumerate(items))
    waiting.reverse()
    results: dict[int, Any] = {}

    async def worker(slot: int) -> None:
        while waiting:
            number, item = waiting.pop()
            results[number] = await work(item, slot)

    try:
        async with asyncio.timeout(limit_s), asyncio.TaskGroup() as group:
            for slot in range(min(slots, len(waiting))):
                group.create_task(worker(slot))
    except TimeoutError:
        raise MeasurementTooSlow(f"{what}: not done within {limit_s:.0f} s") from None
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [results[number] for number in range(len(results))]
