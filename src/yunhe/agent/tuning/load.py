"""The load of one window, in a process of its own so that the agent stays responsive and its cost is known.

``python -m yunhe.agent.tuning.load`` reads a ``LoadAsk`` as JSON from standard input and writes a ``LoadResult``.

Why not a ready load generator: this one runs beside the engine on the same cores, so it must cost little (no client
library, no JSON per event); it reports whose CPU time a window had; and it installs in no centre, because it is here.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from typing import Final
from urllib.parse import urlsplit

import msgspec
import uvloop
from msgspec import Struct

from yunhe.agent.tuning import host
from yunhe.agent.tuning.client import Answer, Ask, Connection, RequestFailed
from yunhe.agent.tuning.orphans import die_with_parent
from yunhe.agent.tuning.prompts import PromptMaker

#: Requests before the clock starts, so that no window pays for first touches; each this long.
WARM_UP_TOKENS: Final = 8
#: A window ends early when so many requests have failed: it will not count anyway.
ERRORS_MAX: Final = 3


class Shape(Struct, frozen=True):
    """Requests of one length, and their share."""

    input_tokens: int
    output_tokens: int
    share: float


class LoadAsk(Struct, frozen=True):
    """What to do. Either ``concurrency`` (closed loop) or ``requests_per_s`` (open loop, Poisson) is given."""

    base_url: str
    api_key: str | None
    model: str
    pid: int | None
    shapes: tuple[Shape, ...]
    #: No request starts later than this; those under way are finished.
    duration_s: float
    seed: int
    concurrency: int | None = None
    requests_per_s: float | None = None


class LoadResult(Struct, frozen=True):
    """What was seen. Times in seconds."""

    duration_s: float
    completed: int
    input_tokens: int
    output_tokens: int
    output_tokens_due: int
    ttft_s: tuple[float, ...]
    tpot_s: tuple[float | None, ...]
    foreign_cpu_share: float
    memory_peak_bytes: int | None
    owns_port: bool
    errors: int
    first_error: str = ""


class Window:
    """Runs one window."""

    def __init__(self, ask: LoadAsk) -> None:
        self._ask = ask
        self._random = random.Random(ask.seed)
        self._answers: list[tuple[Answer, int]] = []
        self._errors: list[str] = []
        self._count = 0
        self._prompts = PromptMaker(ask.seed)

    async def run(self) -> LoadResult:
        """Warm up, load, sum up. Raises RequestFailed when not even the warm-up is answered."""
        ask = self._ask
        await self._fit_prompts()
        width = ask.concurrency or 4
        await asyncio.gather(*(self._one(Ask(self._prompts.make(32, f"w{n}"), WARM_UP_TOKENS)) for n in range(width)))
        pids = (os.getpid(), *((ask.pid,) if ask.pid is not None else ()))
        owned = self._owns_port()
        before, begin_s = host.cpu_clock(pids), time.perf_counter()
        if ask.concurrency is not None:
            await asyncio.gather(*(self._worker(begin_s) for _ in range(ask.concurrency)))
        else:
            await self._arrivals(begin_s, ask.requests_per_s or 1.0)
        after = host.cpu_clock(pids)
        return self._sum_up(begin_s, host.foreign_share(before, after), owned and self._owns_port())

    async def _fit_prompts(self) -> None:
        """Learn how many tokens the model makes of our words, so that prompts have the wanted lengths."""
        words = 200
        answer = await self._one(Ask(self._prompts.words(words, "fit"), 1))
        self._prompts.learn(words, answer.input_tokens)

    async def _worker(self, begin_s: float) -> None:
        while time.perf_counter() - begin_s < self._ask.duration_s and len(self._errors) < ERRORS_MAX:
            await self._counted()

    async def _arrivals(self, begin_s: float, rate: float) -> None:
        tasks: list[asyncio.Task[None]] = []
        due_s = self._random.expovariate(rate)
        while due_s < self._ask.duration_s and len(self._errors) < ERRORS_MAX:
            await asyncio.sleep(max(0.0, begin_s + due_s - time.perf_counter()))
            tasks.append(asyncio.create_task(self._counted()))
            due_s += self._random.expovariate(rate)
        await asyncio.gather(*tasks)

    async def _counted(self) -> None:
        shape = self._random.choices(self._ask.shapes, [shape.share for shape in self._ask.shapes])[0]
        self._count += 1
        prompt = self._prompts.make(shape.input_tokens, str(self._count))
        try:
            answer = await self._one(Ask(prompt, shape.output_tokens, self._count))
        except RequestFailed as error:
            self._errors.append(str(error))
        else:
            self._answers.append((answer, shape.output_tokens))

    async def _one(self, ask: Ask) -> Answer:
        # A connection each: some engines hang up after a stream without saying so, and a kept one would then fail.
        connection = Connection(self._ask.base_url, self._ask.api_key, self._ask.model)
        try:
            return await connection.ask(ask)
        finally:
            connection.close()

    def _sum_up(self, begin_s: float, foreign: float, owned: bool) -> LoadResult:
        answers = [answer for answer, _ in self._answers]
        end_s = max((answer.last_s for answer in answers), default=begin_s)
        return LoadResult(
            duration_s=end_s - begin_s,
            completed=len(answers),
            input_tokens=sum(answer.input_tokens for answer in answers),
            output_tokens=sum(answer.output_tokens for answer in answers),
            output_tokens_due=sum(due for _, due in self._answers),
            ttft_s=tuple(answer.ttft_s for answer in answers),
            tpot_s=tuple(answer.tpot_s for answer in answers),
            foreign_cpu_share=foreign,
            memory_peak_bytes=None if self._ask.pid is None else host.memory_peak_bytes(self._ask.pid),
            owns_port=owned,
            errors=len(self._errors),
            first_error=self._errors[0][:300] if self._errors else "",
        )

    def _owns_port(self) -> bool:
        port = urlsplit(self._ask.base_url).port
        return self._ask.pid is not None and port is not None and host.owns_port(self._ask.pid, port)


def main() -> int:
    """Exit status 0 with a result; 1 with the reason on standard error when nothing could be loaded."""
    die_with_parent()
    ask = msgspec.json.decode(sys.stdin.buffer.read(), type=LoadAsk)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(Window(ask).run())
    except RequestFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
