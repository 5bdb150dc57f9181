"""Answers that come whole."""

from __future__ import annotations

import time

from yunhe.gateway import meter
from yunhe.gateway.answer import BadAnswer, normalised
from yunhe.gateway.client import ClientConnection
from yunhe.gateway.relay import Relay
from yunhe.gateway.settlement import Admitted


class WholeRelay(Relay):
    """Gathers the answer, settles, sends it."""

    __slots__ = ("_pieces", "_size")

    def __init__(self, client: ClientConnection, admitted: Admitted) -> None:
        super().__init__(client, admitted)
        self._pieces: list[bytes] = []
        self._size = 0

    def _reset(self) -> None:
        self._pieces = []
        self._size = 0
        self._status = 0

    def _on_good_body(self, data: bytes) -> None:
        self._pieces.append(data)
        self._size += len(data)
        if self._size > self._worker.options.answer_bytes_max and self._upstream is not None:
            self._upstream.abort()
            self._attempt_failed("its answer is too large", breaking=False)

    def _on_good_end(self) -> None:
        admitted = self._admitted
        call = admitted.call
        replica = admitted.replica
        assert replica is not None
        pieces = self._pieces
        raw = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        try:
            body, usage = normalised(call.endpoint, call.model, admitted.request_id, int(time.time()), raw)
        except BadAnswer as error:
            self._attempt_failed(f"its answer is not of this endpoint ({error})")
            return
        replica.succeeded()
        admitted.first_byte()
        tokens = meter.from_usage(usage) or meter.estimated(call.prompt_estimate, len(body))
        self._finish_load()
        admitted.settle("ok", 200, tokens)
        self._client.answer(200, self._answer_lines(), body)
