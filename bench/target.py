"""What can be measured: something that takes chat completions on a port and passes them to the upstream."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Protocol

from bench.programs import Upstream

#: How the upstream sends streams; ``paced-counted`` also carries cumulative counts on every event.
MODES = ("burst", "paced", "paced-counted")
STOP_GRACE_S = 10.0
VARIANTS = 64
PROMPT = (
    "Explain to an engineer who has never seen one how a pound lock lifts a barge from the lower to the upper pound, "
    "which gates and paddles are worked in which order, what happens to the water, and why a staircase of locks needs "
    "side ponds when boats follow each other closely. Say also how a summit level is fed in a dry year, and what the "
    "builders of the Grand Canal did about silt. Keep to eight sentences and use plain words that a child would know. "
)


class Target(Protocol):
    """A gateway under test, or none (``direct``)."""

    name: str
    #: Whether the client gets the upstream's events one for one; otherwise a stream is whole when it ends in [DONE].
    passes_events: bool

    def start(self) -> None:
        """Start it and wait until it answers. Raises RuntimeError with its log when it does not."""
        ...

    def pid(self) -> int | None:
        """Root of its process tree; None when nothing stands between load and upstream."""
        ...

    def port(self, mode: str) -> int:
        """Where to send requests of a mode."""
        ...

    def model(self, mode: str) -> str:
        """The model name that leads to the mode's upstream port."""
        ...

    def key(self) -> str:
        """Its API key."""
        ...

    def stop(self) -> None:
        """End it and everything that it started."""
        ...


class Direct:
    """The upstream itself: what latency is added to."""

    name = "direct"
    passes_events = True

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def start(self) -> None:
        """Nothing to start."""

    def pid(self) -> int | None:
        """No process of its own."""
        return None

    def port(self, mode: str) -> int:
        """The upstream's."""
        return self._upstream.port(mode)

    def model(self, mode: str) -> str:
        """The upstream takes any."""
        return "fake"

    def key(self) -> str:
        """The upstream takes any."""
        return "none"

    def stop(self) -> None:
        """Nothing to stop."""


def request_file(target: Target, mode: str, stream: bool) -> bytes:
    """What the load generator sends in turn: different lengths, so that no cache of whole requests helps."""
    requests = [request_bytes(target, mode, stream, PROMPT[: len(PROMPT) - 3 * n] + str(n)) for n in range(VARIANTS)]
    return b"".join(b"%d\n%b" % (len(one), one) for one in requests)


def request_bytes(target: Target, mode: str, stream: bool, prompt: str) -> bytes:
    """One whole HTTP request, about 650 bytes of body as chats are."""
    body: dict[str, object] = {
        "model": target.model(mode),
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": prompt},
        ],
        "max_tokens": 64,
        "temperature": 0.7,
        "stream": stream,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}
    text = json.dumps(body).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: yunhe-bench\r\nAccept: */*\r\n"
        f"Authorization: Bearer {target.key()}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    )
    return head.encode() + text


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_ready(url: str, process: subprocess.Popen[bytes], log: Path, timeout_s: float) -> None:
    """Returns when ``url`` answers 200. Raises RuntimeError with the end of the log when the process cannot."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    text = log.read_text(errors="replace")[-2000:] if log.exists() else "(no log)"
    raise RuntimeError(f"{url} did not answer within {timeout_s:.0f} s; the end of {log.name}:\n{text}")


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the process group to end, then kill it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
