"""Carrying an admitted request to a replica: attempts, failover before the first byte, errors, the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final

from yunhe.gateway.answer import refused_by_replica
from yunhe.gateway.client import ClientConnection
from yunhe.gateway.limits import header_lines
from yunhe.gateway.meter import NONE
from yunhe.gateway.refusal import SERVER, Refusal, unavailable, upstream_failed
from yunhe.gateway.replica import Replica
from yunhe.gateway.request_body import upstream_body
from yunhe.gateway.settlement import Admitted
from yunhe.gateway.upstream import UpstreamConnection
from yunhe.ledger.usage import Outcome
from yunhe.serve import routing

_ERROR_BYTES_MAX: Final = 64 * 1024
#: What a replica answers when it cannot take more, or is going; a plain 500 may be the request's own fault and must
#: not take the replica away from others.
_BREAKING: Final = frozenset({429, 502, 503, 504})


class Relay(ABC):
    """One request's way. Subclasses say what becomes of a good answer."""

    __slots__ = (
        "_admitted", "_client", "_deadline_s", "_error", "_error_bytes", "_failure", "_fresh", "_over", "_status",
        "_tried", "_upstream", "_weight", "_worker",
    )  # fmt: skip

    buffered: ClassVar[bool] = True

    def __init__(self, client: ClientConnection, admitted: Admitted) -> None:
        self._client = client
        self._admitted = admitted
        self._worker = admitted.worker
        self._upstream: UpstreamConnection | None = None
        self._tried: list[Replica] = []
        #: The last connection was a used one that the server had just closed: take a new one.
        self._fresh = False
        self._over = False
        self._status = 0
        self._error: list[bytes] | None = None
        self._error_bytes = 0
        self._failure = ""
        self._deadline_s = 0.0
        call = admitted.call
        self._weight = routing.request_tokens(call.prompt_estimate, call.choice_max)
        self._worker.stats.in_flight += 1

    def start(self) -> None:
        """Choose a replica and send."""
        admitted = self._admitted
        worker = self._worker
        if len(self._tried) >= worker.options.attempts_max:
            self._give_up(self._all_failed())
            return
        try:
            replica = worker.world.choose(admitted.model.name, self._weight, worker.now_s, self._tried)
        except Refusal as refusal:
            self._give_up(self._all_failed() if self._tried else refusal)
            return
        if self._tried:
            worker.stats.failed_over(self._tried[-1].entry.replica_id)
        admitted.attempts += 1
        admitted.replica = replica
        replica.begin(self._weight)
        self._connect(replica)

    def _connect(self, replica: Replica) -> None:
        # Until connected the pool's own time-out rules.
        self._deadline_s = float("inf")
        connection = None if self._fresh else replica.pool.take_idle()
        if connection is not None:
            self._send(connection, replica)
        else:
            replica.pool.connect(self._connected)

    def _connected(self, connection: UpstreamConnection | None, why: str) -> None:
        replica = self._admitted.replica
        if self._over or replica is None:
            if connection is not None:
                connection.abort()
            return
        if connection is None:
            self._attempt_failed(why, decisive=True)
        else:
            self._send(connection, replica)

    def _send(self, connection: UpstreamConnection, replica: Replica) -> None:
        call = self._admitted.call
        try:
            body = upstream_body(call, replica.entry.upstream_model, replica.fields, replica.suffix, replica.needles)
        except Refusal as refusal:
            replica.pool.released(connection)
            self._end("refused", refusal.status)
            self._refuse(refusal)
            return
        self._upstream = connection
        options = self._worker.options
        self._deadline_s = self._worker.now_s + (
            options.first_byte_timeout_s if call.stream else options.answer_timeout_s
        )
        connection.send(self, replica.request(call.endpoint, self._admitted.request_id, body))

    def _attempt_failed(self, why: str, *, decisive: bool = False, breaking: bool = True) -> None:
        """This replica did not answer; nothing has been sent to the client."""
        replica = self._admitted.replica
        assert replica is not None
        self._failure = why
        self._upstream = None
        self._error = None
        self._error_bytes = 0
        self._fresh = False
        replica.end(self._weight)
        if breaking:
            replica.failed(self._worker.now_s, why, decisive=decisive)
        self._worker.stats.attempts_failed += 1
        self._tried.append(replica)
        self._reset()
        self.start()

    @abstractmethod
    def _reset(self) -> None:
        """Forget what the failed attempt had answered."""

    def _all_failed(self) -> Refusal:
        return unavailable(
            f"The model's server failed: {self._failure}. Please try again shortly.", "upstream_unavailable"
        )

    def _give_up(self, refusal: Refusal) -> None:
        """No replica is left; the last one's load is already taken off."""
        self._admitted.settle("upstream_error", refusal.status, NONE)
        self._over = True
        self._worker.stats.in_flight -= 1
        self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        self._client.refuse(refusal, self._admitted.request_id)

    def _end(self, outcome: Outcome, status: int) -> None:
        """The request is over without any token served."""
        self._finish_load()
        self._admitted.settle(outcome, status, NONE)

    def _finish_load(self) -> None:
        self._over = True
        self._upstream = None
        self._worker.stats.in_flight -= 1
        if self._admitted.replica is not None:
            self._admitted.replica.end(self._weight)

    def _answer_lines(self) -> bytes:
        """Headers of a good answer."""
        admitted = self._admitted
        replica = admitted.replica
        assert replica is not None
        return b"%bx-yunhe-served-by: %b\r\n%b" % (
            self._worker.request_id_lines(admitted.client_request_id, admitted.request_id),
            replica.served_by,
            header_lines(admitted.room),
        )

    # the replica's answer

    def on_answer_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """Anything but 200 is gathered and judged at its end."""
        self._status = status
        if status != 200:
            self._error = []

    def on_answer_body(self, data: bytes) -> None:
        """A piece of an error's body, or of the answer."""
        if self._error is None:
            self._on_good_body(data)
        elif self._error_bytes < _ERROR_BYTES_MAX:
            self._error_bytes += len(data)
            self._error.append(data)

    def on_answer_end(self) -> None:
        """Complete."""
        if self._error is None:
            self._on_good_end()
            return
        status = self._status
        raw = b"".join(self._error)[:_ERROR_BYTES_MAX]
        if 400 <= status < 500 and status not in (408, 429):
            refusal = refused_by_replica(status, raw)
            replica = self._admitted.replica
            if replica is not None:
                replica.succeeded()
            if refusal.kind == SERVER:
                self._end("upstream_error", refusal.status)
            else:
                self._end("refused", refusal.status)
            self._refuse(refusal)
            return
        self._attempt_failed(f"it answered {status}", breaking=status in _BREAKING)

    def on_answer_lost(self, why: str) -> None:
        """The connection broke."""
        connection = self._upstream
        if self._status == 0 and connection is not None and connection.used > 1 and not connection.answered:
            # It was idle and the server closed it just then: the server itself is fine.
            self._upstream = None
            self._fresh = True
            replica = self._admitted.replica
            assert replica is not None
            self._connect(replica)
            return
        self._on_lost(why)

    @abstractmethod
    def _on_good_body(self, data: bytes) -> None:
        """A piece of a 200's body."""

    @abstractmethod
    def _on_good_end(self) -> None:
        """A 200 is complete."""

    def _on_lost(self, why: str) -> None:
        self._attempt_failed(why)

    # the client and time

    def on_client_gone(self) -> None:
        """Abort the replica's work at once and settle what was delivered."""
        if self._over:
            return
        upstream = self._upstream
        self._finish_load()
        if upstream is not None:
            upstream.abort()
        self._settle_gone()

    def _settle_gone(self) -> None:
        self._admitted.settle("client_disconnected", 499, NONE)

    def on_client_writable(self, writable: bool) -> None:
        """Back-pressure: a client that reads slowly slows the replica down."""
        if self._upstream is not None:
            if writable:
                self._upstream.resume()
            else:
                self._upstream.pause()

    def tick(self, now_s: float) -> None:
        """Time-outs of the replica."""
        if now_s > self._deadline_s and not self._over:
            self._timed_out()

    def _timed_out(self) -> None:
        upstream = self._upstream
        replica = self._admitted.replica
        if replica is not None:
            replica.failed(now_s=self._worker.now_s, why="it did not answer in time")
        self._end("timeout", 504)
        if upstream is not None:
            upstream.abort()
        self._refuse(upstream_failed("The model's server did not answer in time.", status=504, code="upstream_timeout"))

    def stop(self) -> None:
        """The worker stops."""
        if self._over:
            return
        upstream = self._upstream
        self._end("upstream_error", 503)
        if upstream is not None:
            upstream.abort()
        self._refuse(unavailable("This gateway worker is stopping. Please try again.", "stopping"))

    # Request bodies are whole before a relay begins, and are sent whole.

    def on_upstream_writable(self, writable: bool) -> None:  # noqa: B027
        """The transport holds what the replica does not take yet."""

    def begin(self, body: bytes) -> None:  # noqa: B027
        """Admission had the body."""

    def on_request_body(self, data: bytes) -> None:  # noqa: B027
        """Bodies come whole."""

    def on_request_end(self) -> None:  # noqa: B027
        """Bodies come whole."""
