"""One window: load a running candidate by a child process, and make a sample of what that saw."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import msgspec

from yunhe.adapt.adaptation import Workload
from yunhe.adapt.samples import Sample
from yunhe.agent.tuning.client import ANSWER_LIMIT_S
from yunhe.agent.tuning.load import LoadAsk, LoadResult, Shape
from yunhe.agent.tuning.orphans import child_environment
from yunhe.agent.tuning.stage import Running

#: No request of a window starts later; those under way are finished and count.
WINDOW_S: Final = 4.0


class NotLoaded(Exception):
    """The load could not be put on: a finding about the candidate when it has died, else about this machine."""


async def measure(
    running: Running,
    workload: Workload,
    *,
    candidate: str,
    round: int,
    seed: int,
    concurrency: int | None = None,
    requests_per_s: float | None = None,
    window_s: float = WINDOW_S,
) -> Sample:
    """Load for a window, closed loop by ``concurrency`` or open loop by ``requests_per_s``. Raises NotLoaded.

    Candidates of one round get the same seed, so the same prompts.
    """
    shapes = tuple(Shape(one.input_tokens, one.output_tokens, one.share) for one in workload.requests)
    ask = LoadAsk(
        base_url=running.base_url,
        api_key=running.api_key,
        model=running.upstream_model,
        pid=running.pid,
        shapes=shapes,
        duration_s=window_s,
        seed=seed,
        concurrency=concurrency,
        requests_per_s=requests_per_s,
    )
    return _sample(await _load(ask), candidate, round)


async def _load(ask: LoadAsk) -> LoadResult:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "yunhe.agent.tuning.load",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(),
    )
    try:
        async with asyncio.timeout(ask.duration_s + ANSWER_LIMIT_S):
            out, err = await process.communicate(msgspec.json.encode(ask))
    except TimeoutError:
        raise NotLoaded("the load did not end in time") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise NotLoaded(err.decode(errors="replace").strip()[-300:] or f"the load ended with {process.returncode}")
    return msgspec.json.decode(out, type=LoadResult)


def _sample(result: LoadResult, candidate: str, round: int) -> Sample:
    return Sample(
        candidate=candidate,
        round=round,
        duration_s=result.duration_s,
        completed=result.completed,
        input_tokens=result.input_tokens,
        output_tokens=result.output_tokens,
        output_tokens_due=result.output_tokens_due,
        ttft_s=result.ttft_s,
        tpot_s=result.tpot_s,
        foreign_cpu_share=result.foreign_cpu_share,
        memory_peak_bytes=result.memory_peak_bytes,
        owns_port=result.owns_port,
        errors=result.errors,
    )
