"""A fake engine: OpenAI-shaped, counts the tokens that it served, and fails as scripted. Simulated, never a model.

In a test: ``engine = FakeEngine(); await engine.start(); engine.faults.append(Fault(drop_after=3))``. As a program:
``python -m yunhe.testing.fake_engine --port 0`` prints its URL; ``GET /counters`` and ``POST /faults`` do the same.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from yunhe.catalogue.ports import UsageProbe
from yunhe.testing.http_server import Request, ScriptedServer, head_bytes, write_json

PROBE = UsageProbe({"counts_per_event": True}, "counts", ("prompt_n", "cache_n"), "cache_n", "predicted_n")


@dataclass(slots=True)
class Fault:
    """What goes wrong with the next inference request. Numbers of events count those with text."""

    #: Answer this status with this error instead.
    status: int | None = None
    error: dict[str, Any] = field(default_factory=lambda: {"message": "scripted", "type": "server_error"})
    #: Close the connection before any byte.
    drop: bool = False
    #: Streams: close after so many events; 0 is after the head.
    drop_after: int | None = None
    #: Streams: send nothing more after so many events, and keep the connection.
    stall_after: int | None = None
    #: Streams: an error event after so many events.
    error_after: int | None = None
    #: Before the first byte.
    delay_s: float = 0.0
    #: Streams: end without ``[DONE]``; without the usage chunk.
    no_done: bool = False
    no_usage: bool = False
    #: Send these bytes as the whole answer, then close.
    raw: bytes | None = None


@dataclass(slots=True)
class Counters:
    """What the engine knows that it served. A token counts once its bytes were handed to the network."""

    requests: int = 0
    finished: int = 0
    aborted: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class FakeEngine:
    """One engine. ``probe`` turns cumulative counts on every event on, when a request asks for them."""

    def __init__(
        self,
        *,
        model: str = "fake-model",
        tokens: int = 8,
        interval_s: float = 0.0,
        probe: bool = True,
        line_end: bytes = b"\n",
    ) -> None:
        self.model = model
        self.tokens = tokens
        self.interval_s = interval_s
        self.probe = probe
        self.line_end = line_end
        self.faults: deque[Fault] = deque()
        self.counters = Counters()
        #: Bodies of the inference requests, newest last, and their headers.
        self.seen: deque[dict[str, Any]] = deque(maxlen=1000)
        self.seen_headers: deque[dict[str, str]] = deque(maxlen=1000)
        self.aborted = asyncio.Event()
        #: Streams wait here before each event; cleared by tests that want to hold a stream open.
        self.gate = asyncio.Event()
        self.gate.set()
        self._server = ScriptedServer(self._handle)

    @property
    def url(self) -> str:
        """Base URL, before /v1."""
        return self._server.url

    @property
    def connections_total(self) -> int:
        """Connections accepted so far."""
        return self._server.connections_total

    async def start(self, port: int = 0) -> None:
        """Listen."""
        await self._server.start(port)

    async def stop(self) -> None:
        """Cut everything off, as a killed process would."""
        await self._server.stop()

    async def _handle(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        if request.path == "/counters":
            write_json(writer, 200, asdict(self.counters))
        elif request.path == "/faults":
            self.faults.extend(msgspec.convert(request.json(), list[Fault]))
            write_json(writer, 200, {"waiting": len(self.faults)})
        elif request.path == "/health":
            write_json(writer, 200, {"status": "ok"})
        elif request.path == "/v1/models":
            write_json(writer, 200, {"object": "list", "data": [{"id": self.model, "object": "model"}]})
        elif request.path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
            return await self._infer(request, writer)
        else:
            write_json(writer, 404, {"error": {"message": "no such path", "type": "not_found"}})
        return True

    async def _infer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        body = request.json()
        self.seen.append(body)
        self.seen_headers.append(request.headers)
        self.counters.requests += 1
        fault = self.faults.popleft() if self.faults else Fault()
        if fault.delay_s:
            await asyncio.sleep(fault.delay_s)
        if fault.drop:
            writer.transport.abort()
            return False
        if fault.raw is not None:
            writer.write(fault.raw)
            await writer.drain()
            return False
        if fault.status is not None:
            write_json(writer, fault.status, {"error": {"code": fault.status, **fault.error}})
            return True
        prompt = max(1, len(msgspec.json.encode(body.get("messages") or body.get("prompt") or body.get("input"))) // 4)
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or self.tokens
        if request.path == "/v1/embeddings":
            self._embed(body, prompt, writer)
        elif body.get("stream"):
            try:
                return await self._stream(request.path, body, prompt, limit, fault, writer)
            except ConnectionError:
                self._abort()
                return False
        else:
            await self._whole(request.path, prompt, limit, writer)
        return True

    def _embed(self, body: dict[str, Any], prompt: int, writer: asyncio.StreamWriter) -> None:
        self.counters.prompt_tokens += prompt
        self.counters.finished += 1
        data = [{"embedding": [0.25, -0.5], "index": 0}]
        usage = {"prompt_tokens": prompt, "total_tokens": prompt}
        write_json(writer, 200, {"object": "list", "data": data, "model": self.model, "usage": usage})

    async def _whole(self, path: str, prompt: int, limit: int, writer: asyncio.StreamWriter) -> None:
        text = " ".join(f"t{n}" for n in range(limit))
        if self.interval_s:
            await asyncio.sleep(self.interval_s * limit)
        chat = path == "/v1/chat/completions"
        choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        answer = {
            "id": "fake-1",
            "object": "chat.completion" if chat else "text_completion",
            "created": 1_790_000_000,
            "model": self.model,
            "choices": [{"index": 0, "finish_reason": "length", **choice}],
            "usage": self._usage(prompt, limit),
            "counts": {"prompt_n": prompt, "cache_n": 0, "predicted_n": limit},
        }
        write_json(writer, 200, answer)
        await writer.drain()
        if not writer.transport.is_closing():
            self.counters.prompt_tokens += prompt
            self.counters.completion_tokens += limit
            self.counters.finished += 1

    def _usage(self, prompt: int, completion: int) -> dict[str, int]:
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    async def _stream(
        self, path: str, body: dict[str, Any], prompt: int, limit: int, fault: Fault, writer: asyncio.StreamWriter
    ) -> bool:
        writer.write(head_bytes(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        chat = path == "/v1/chat/completions"
        counted = self.probe and body.get("counts_per_event") is True
        if chat:
            self._event(writer, self._chunk(chat, {"role": "assistant", "content": None}, None))
        for number in range(1, limit + 1):
            if fault.drop_after == number - 1:
                writer.transport.abort()
                return False
            if fault.error_after == number - 1:
                self._event(writer, {"error": {"code": 500, "message": "scripted error", "type": "server_error"}})
                return False
            if fault.stall_after == number - 1:
                await self._wait_for_end(writer)
                return False
            await self.gate.wait()
            if self.interval_s:
                await asyncio.sleep(self.interval_s)
            chunk = self._chunk(chat, {"content": f"t{number} "}, None)
            if counted:
                chunk["counts"] = {"prompt_n": prompt - 1, "cache_n": 1, "predicted_n": number}
            if writer.transport.is_closing():
                self._abort()
                return False
            self._event(writer, chunk)
            await writer.drain()
            self.counters.completion_tokens += 1
            self.counters.prompt_tokens += prompt if number == 1 else 0
        self._finish(chat, body, prompt, limit, fault, writer)
        return True

    def _finish(
        self, chat: bool, body: dict[str, Any], prompt: int, limit: int, fault: Fault, writer: asyncio.StreamWriter
    ) -> None:
        self._event(writer, self._chunk(chat, {}, "length"))
        if (body.get("stream_options") or {}).get("include_usage") and not fault.no_usage:
            self._event(writer, {**self._chunk(chat, None, None), "usage": self._usage(prompt, limit)})
        if not fault.no_done:
            self._raw_event(writer, b"[DONE]")
        writer.write(b"0\r\n\r\n")
        self.counters.finished += 1

    async def _wait_for_end(self, writer: asyncio.StreamWriter) -> None:
        while not writer.transport.is_closing():
            await asyncio.sleep(0.01)
        self._abort()

    def _abort(self) -> None:
        self.counters.aborted += 1
        self.aborted.set()

    def _chunk(self, chat: bool, delta: dict[str, Any] | None, finish: str | None) -> dict[str, Any]:
        choices: list[dict[str, Any]] = []
        if delta is not None:
            content = {"delta": delta} if chat else {"text": delta.get("content") or "", "logprobs": None}
            choices = [{"index": 0, "finish_reason": finish, **content}]
        return {
            "id": "fake-1",
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": 1_790_000_000,
            "model": self.model,
            "choices": choices,
        }

    def _event(self, writer: asyncio.StreamWriter, document: dict[str, Any]) -> None:
        self._raw_event(writer, msgspec.json.encode(document))

    def _raw_event(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        event = b"data: " + data + self.line_end * 2
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))


async def _serve(args: argparse.Namespace) -> None:
    engine = FakeEngine(
        model=args.model, tokens=args.tokens, interval_s=args.interval_ms / 1000, probe=not args.no_probe
    )
    await engine.start(args.port)
    print(engine.url, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Run one until it is stopped."""
    parser = argparse.ArgumentParser(prog="python -m yunhe.testing.fake_engine", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", default="fake-model")
    parser.add_argument("--tokens", type=int, default=8, help="tokens of an answer without a limit")
    parser.add_argument("--interval-ms", type=float, default=0.0, help="between two tokens")
    parser.add_argument("--no-probe", action="store_true", help="offer no cumulative counts")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
