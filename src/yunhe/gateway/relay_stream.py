"""Answers that come as a stream of events."""

from __future__ import annotations

import asyncio
from typing import Final

from yunhe.gateway import answer, meter, sse
from yunhe.gateway.client import ClientConnection
from yunhe.gateway.meter import Tokens
from yunhe.gateway.refusal import SERVER, error_body
from yunhe.gateway.relay import Relay
from yunhe.gateway.replica import Replica
from yunhe.gateway.settlement import Admitted
from yunhe.gateway.upstream import UpstreamConnection
from yunhe.ledger.usage import Outcome

_LAST_CHUNK: Final = b"0\r\n\r\n"
#: OpenAI's schema requires the member ``refusal`` beside ``content``; engines leave it out. An event that has it
#: already has it first or after; the members that such an engine sends are both null, so repeating it says the same.
_LOGPROBS_SHAPE: Final = (b'"logprobs":{"content":', b'"logprobs":{"refusal":null,"content":')


class StreamRelay(Relay):
    """Passes events on as they come; knows at every moment what was delivered."""

    __slots__ = (
        "_chunked", "_counts", "_delivered", "_finished", "_head", "_journal", "_probe_key", "_rename", "_seen_text",
        "_sent", "_slot", "_tail", "_usage",
    )  # fmt: skip

    def __init__(self, client: ClientConnection, admitted: Admitted) -> None:
        super().__init__(client, admitted)
        self._journal = admitted.worker.journal
        self._chunked = client.head is not None and client.head.http11
        self._reset()

    def _reset(self) -> None:
        self._status = 0
        self._tail = b""
        #: The answer's head, prepared for this replica.
        self._head = b""
        #: It is out: no failover any more.
        self._sent = False
        self._finished = False
        self._seen_text = False
        #: The engine's newest cumulative counts.
        self._counts = b""
        #: Events with text that went out.
        self._delivered = 0
        self._usage: Tokens | None = None
        self._probe_key = b""
        self._rename: list[tuple[bytes, bytes]] = []
        self._slot = -1

    def _on_good_body(self, data: bytes) -> None:
        if self._finished:
            return
        if self._tail or b"\r" in data or data[-2:] != b"\n\n":
            data = self._whole_events(data)
            if not data:
                return
        if not self._sent and not self._first(data):
            return
        self._deadline_s = self._worker.now_s + self._worker.options.stream_idle_timeout_s
        if data.find(b"\n\n") == len(data) - 2:
            out = self._event(data)
        else:
            out = b"".join([self._event(event + b"\n\n") for event in data[:-2].split(b"\n\n")])
        if self._over:
            return
        if self._finished:
            self._complete(out)
        elif out:
            self._client.transport.write(b"%x\r\n%b\r\n" % (len(out), out) if self._chunked else out)

    def _whole_events(self, data: bytes) -> bytes:
        """What is complete by now, with LF line ends; the rest is kept."""
        data = (self._tail + data).replace(b"\r\n", b"\n")
        cut = data.rfind(b"\n\n") + 2
        if cut < 2:
            cut = 0
        self._tail = data[cut:]
        if len(self._tail) > self._worker.options.event_bytes_max:
            self._broken("an event of its stream is too large")
            return b""
        return data[:cut]

    def _first(self, data: bytes) -> bool:
        """The first event decides whether this replica answers; False when it does not."""
        replica = self._admitted.replica
        assert replica is not None
        if data.startswith(sse.ERROR_STARTS):
            status, message = answer.stream_error(sse.document(data.partition(b"\n\n")[0]))
            upstream = self._upstream
            if 400 <= status < 500 and status != 429:
                refusal = answer.refused_by_replica(status, data.partition(b":")[2].strip())
                self._end("refused" if refusal.kind != SERVER else "upstream_error", refusal.status)
                if upstream is not None:
                    upstream.abort()
                self._refuse(refusal)
                return False
            if upstream is not None:
                upstream.abort()
            self._attempt_failed(message, breaking=status in (429, 502, 503, 504))
            return False
        if not data.startswith((b"data:", b":", b"event:", b"id:", b"retry:")):
            if self._upstream is not None:
                self._upstream.abort()
            self._attempt_failed("it did not answer with a stream of events")
            return False
        replica.succeeded()
        if not self._head:
            self._prepare()
        self._admitted.first_byte()
        self._client.transport.write(self._head)
        self._sent = True
        return True

    def _send(self, connection: UpstreamConnection, replica: Replica) -> None:
        super()._send(connection, replica)
        # Once the request is out and while the replica works: what the first event would otherwise wait for.
        asyncio.get_running_loop().call_soon(self._prepare)

    def _prepare(self) -> None:
        """The answer's head, and the stream's place in the journal."""
        replica = self._admitted.replica
        if self._over or self._head or replica is None or self._client.head is None:
            return
        admitted = self._admitted
        self._probe_key = replica.probe_key
        self._rename = replica.model_patterns
        if admitted.call.endpoint == "chat.completions" and b'"logprobs"' in admitted.call.body:
            self._rename = [*self._rename, _LOGPROBS_SHAPE]
        admitted.open_journal(admitted.call.prompt_estimate, replica)
        self._slot = admitted.slot
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        if not self._chunked:
            self._client.head.keep_alive = False
        self._head = (
            b"%bcontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
            b"x-accel-buffering: no\r\n%b%b\r\n" % (self._client.head_start(200), framing, self._answer_lines())
        )

    def _event(self, event: bytes) -> bytes:
        """One event with its blank line: what of it goes out."""
        if self._rename:
            for theirs, ours in self._rename:
                event = event.replace(theirs, ours, 1)
        counts = b""
        if self._probe_key:
            event, counts = sse.cut_member(event, self._probe_key)
        if b'"usage":' in event and sse.has_usage(event):
            return self._usage_event(event)
        if counts:
            self._counts = counts
        elif not self._tells_text(event):
            return event if not self._over else b""
        self._delivered += 1
        if self._slot >= 0:
            self._journal.note(self._slot, self._delivered, counts)
        return event

    def _tells_text(self, event: bytes) -> bool:
        """Whether an event without counts holds generated text; ends and errors are seen here too."""
        if b"[DONE]" in event[:14]:
            self._finished = True
            return False
        if event.startswith(sse.ERROR_STARTS):
            self._broken(answer.stream_error(sse.document(event))[1])
            return False
        if event[:1] == b":":
            return False
        if not self._seen_text:
            parsed = sse.document(event)
            self._seen_text = parsed is not None and sse.carries_text(parsed)
        return self._seen_text

    def _usage_event(self, event: bytes) -> bytes:
        """The engine's final counts: kept, and passed on only to who asked."""
        parsed = sse.document(event)
        if parsed is None or not isinstance(parsed.get("usage"), dict):
            return event
        tokens = meter.from_usage(parsed["usage"])
        if tokens is not None:
            self._usage = tokens
        if parsed.get("choices"):
            self._delivered += 1
            if self._admitted.call.include_usage:
                return event
            del parsed["usage"]
            return sse.event_of(parsed)
        return event if self._admitted.call.include_usage else b""

    def _complete(self, out: bytes) -> None:
        """``[DONE]`` came: settle, then send the last bytes."""
        self._settle_good()
        client = self._client
        if self._chunked:
            out = b"%x\r\n%b\r\n%b" % (len(out), out, _LAST_CHUNK)
        client.transport.write(out)
        client.finish()

    def _settle_good(self) -> None:
        upstream = self._upstream
        tokens = self._usage or self._interrupted_tokens()
        self._finish_load()
        if upstream is not None:
            upstream.let_end(self._worker.now_s)
        self._admitted.settle("ok", 200, tokens)

    def _on_good_end(self) -> None:
        if self._over:
            return
        if not self._sent:
            self._attempt_failed("it ended its answer without an event")
        elif self._usage is not None:
            # Some servers end without [DONE]; clients wait for it.
            self._finished = True
            self._complete(b"data: [DONE]\n\n")
        else:
            self._broken("it ended the stream too early")

    def _on_lost(self, why: str) -> None:
        if self._over:
            return
        if self._sent:
            self._broken(why)
        else:
            self._attempt_failed(why)

    def _broken(self, why: str, outcome: Outcome = "upstream_error", *, breaking: bool = True) -> None:
        """After the first byte: tell the client by an error event and close; never end silently."""
        upstream = self._upstream
        if not self._sent:
            if upstream is not None:
                upstream.abort()
            self._attempt_failed(why)
            return
        replica = self._admitted.replica
        if replica is not None and breaking:
            replica.failed(self._worker.now_s, why)
        self._finish_load()
        if upstream is not None:
            upstream.abort()
        tokens = self._interrupted_tokens()
        self._admitted.settle(outcome, 200, tokens)
        body = error_body(
            f"The stream was interrupted: {why}. What was delivered is billed; please send the request again.",
            SERVER,
            "stream_interrupted",
        )
        out = b"data: %b\n\n" % body
        client = self._client
        client.transport.write(b"%x\r\n%b\r\n%b" % (len(out), out, _LAST_CHUNK) if self._chunked else out)
        if client.head is not None:
            client.head.keep_alive = False
        client.finish()

    def _interrupted_tokens(self) -> Tokens:
        replica = self._admitted.replica
        assert replica is not None
        if self._usage is not None:
            return self._usage
        return meter.interrupted(
            replica.entry.usage_probe, self._counts, self._delivered, self._admitted.call.prompt_estimate
        )

    def _settle_gone(self) -> None:
        self._admitted.settle("client_disconnected", 200 if self._sent else 499, self._interrupted_tokens())

    def _timed_out(self) -> None:
        if self._sent:
            self._broken("the model's server sent nothing for too long", "timeout")
        else:
            super()._timed_out()

    def stop(self) -> None:
        """The worker stops."""
        if self._sent and not self._over:
            self._broken("this gateway worker is stopping", breaking=False)
        else:
            super().stop()
