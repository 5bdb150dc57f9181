"""May this request be carried out? Key, scope, model, body, room in the spool, limits, credit: cheap checks first."""

from __future__ import annotations

import hmac
import time
from typing import TYPE_CHECKING, ClassVar, Final

from yunhe.accounts import keys
from yunhe.gateway.client import ClientConnection
from yunhe.gateway.refusal import (
    Refusal,
    bad_request,
    forbidden,
    missing_key,
    unavailable,
    unknown_model,
    wrong_key,
)
from yunhe.gateway.relay_stream import StreamRelay
from yunhe.gateway.relay_whole import WholeRelay
from yunhe.gateway.request_body import Call, read_call
from yunhe.gateway.request_head import RequestHead
from yunhe.gateway.request_id import new_request_id
from yunhe.gateway.routes import Key, Project
from yunhe.gateway.settlement import Admitted
from yunhe.ledger import pricing
from yunhe.serve import routing
from yunhe.serve.snapshot import ModelEntry

if TYPE_CHECKING:
    from yunhe.gateway.worker import Worker

_CAPABILITY: Final = {
    "chat.completions": ("chat", "model_lacks_chat", "chat completions"),
    "completions": ("completions", "model_lacks_completions", "text completions"),
    "embeddings": ("embeddings", "model_lacks_embeddings", "embeddings"),
}


def authenticate(worker: Worker, head: RequestHead) -> tuple[Key, Project]:
    """Who calls. Raises Refusal 401 or 403."""
    value = head.headers.get(b"authorization")
    if value is None:
        raise missing_key()
    text = value[7:].strip()
    if value[:7].lower() != b"bearer " or not text:
        raise missing_key()
    # yh_<12 characters>_<secret>
    prefix_bytes = text[3:15]
    key = worker.world.keys.get(prefix_bytes) if text[:3] == b"yh_" else None
    if key is None or not hmac.compare_digest(worker.digester.digest(text), key.digest):
        raise wrong_key(_shown(text))
    prefix = key.entry.prefix
    entry = key.entry
    if entry.expires_at is not None and time.time() >= entry.expires_at:
        raise wrong_key(f"yh_{prefix}***", "This API key has expired")
    project = worker.world.projects.get(entry.project_id)
    if project is None:
        raise wrong_key(f"yh_{prefix}***", "This API key's project does not exist any more")
    if not key.inference:
        raise forbidden(
            "This API key lacks the scope `inference`, which calling models needs. Make a key with that scope.",
            "insufficient_scope",
        )
    if project.entry.suspended_reason is not None:
        raise forbidden(f"This project is suspended: {project.entry.suspended_reason}", "project_suspended")
    return key, project


def _shown(text: bytes) -> str:
    """What of a wrong key may be repeated: its public prefix when it has the shape of a key."""
    well_formed = text.isascii() and keys.prefix_of(text.decode()) is not None
    return (text[:15].decode() if well_formed else "") + "***"


class Admission:
    """A /v1 request on its way in. Hands over to a relay, or refuses."""

    __slots__ = (
        "_admitted",
        "_client",
        "_endpoint",
        "_gone",
        "_head",
        "_key",
        "_project",
        "_waiting_until_s",
        "_worker",
    )

    buffered: ClassVar[bool] = True

    def __init__(self, worker: Worker, client: ClientConnection, head: RequestHead, endpoint: str) -> None:
        """Checks the caller at once, before a body is read. Raises Refusal 401 or 403."""
        self._worker = worker
        self._client = client
        self._head = head
        self._endpoint = endpoint
        self._key, self._project = authenticate(worker, head)
        self._admitted: Admitted | None = None
        self._waiting_until_s = 0.0
        self._gone = False

    def begin(self, body: bytes) -> None:
        """The body is here."""
        try:
            self._admit(read_call(self._endpoint, body))
        except Refusal as refusal:
            self._client.refuse(refusal)

    def _admit(self, call: Call) -> None:
        worker = self._worker
        model = self._model(call)
        if call.model not in worker.world.routes:
            raise unavailable(
                f"No replica of the model `{call.model}` is ready. Please try again shortly.", "no_ready_replica", 2.0
            )
        if worker.spool.trouble is not None or not worker.spool.reserve():
            why = worker.spool.trouble or "too many requests are in flight"
            raise unavailable(f"Requests cannot be recorded: {why}. Please try again later.", "spool_unavailable", 5.0)
        if call.choice_max is None:
            weight = call.prompt_estimate + routing.EXPECTED_COMPLETION_TOKENS * call.choices
        else:
            weight = call.prompt_estimate + call.completion_max(model.context_length)
        now_s = time.monotonic()
        try:
            room = worker.limits.admit(now_s, self._key.owner, self._project.owner, weight)
        except Refusal:
            worker.spool.unreserve()
            raise
        self._admitted = Admitted(
            worker,
            call,
            self._key,
            self._project,
            model,
            new_request_id(),
            self._head.headers.get(b"x-request-id", b""),
            time.time(),
            now_s,
            weight,
            room,
            _worst_cost(call, model),
        )
        self._take_credit()

    def _model(self, call: Call) -> ModelEntry:
        """The model, when it exists, the key may call it and it can do this. Raises Refusal 400, 403, 404."""
        model = self._worker.world.models.get(call.model)
        if model is None:
            raise unknown_model(call.model)
        if self._key.models is not None and call.model not in self._key.models:
            raise forbidden(
                f"This API key may not call the model `{call.model}`. GET /v1/models lists those that it may.",
                "model_not_allowed",
                "model",
            )
        capability, code, words = _CAPABILITY[self._endpoint]
        if capability not in model.capabilities:
            raise bad_request(
                f"The model `{call.model}` cannot do {words}; it can do: {', '.join(model.capabilities) or 'nothing'}.",
                code=code,
                param="model",
            )
        return model

    def _take_credit(self) -> None:
        """Hold the worst case, now or when control has answered. Raises Refusal 429."""
        admitted = self._admitted
        assert admitted is not None
        worker = self._worker
        project_id = self._project.entry.project_id
        try:
            lease = worker.credit.take(project_id, admitted.hold, worker.now_s)
        except Refusal:
            self._give_back()
            raise
        if lease is None:
            if not self._waiting_until_s:
                self._waiting_until_s = worker.now_s + worker.options.lease_wait_s
            worker.credit.wait(project_id, self._credit_answered)
            worker.wake_credit()
            return
        admitted.lease = lease
        self._admitted = None
        relay = (StreamRelay if admitted.call.stream else WholeRelay)(self._client, admitted)
        self._client.exchange = relay
        relay.start()

    def _credit_answered(self) -> None:
        if self._gone or self._admitted is None:
            return
        try:
            self._take_credit()
        except Refusal as refusal:
            self._client.refuse(refusal)

    def _give_back(self) -> None:
        admitted, self._admitted = self._admitted, None
        if admitted is not None:
            self._worker.spool.unreserve()
            self._worker.limits.correct(self._key.owner, self._project.owner, -admitted.tokens)

    def on_client_gone(self) -> None:
        """Nothing was begun."""
        self._gone = True
        self._give_back()

    def tick(self, now_s: float) -> None:
        """Control takes too long to grant credit: go on with what is allowed without it."""
        if self._admitted is not None and now_s > self._waiting_until_s > 0:
            self._worker.credit_late()

    def stop(self) -> None:
        """The worker stops."""
        self.on_client_gone()
        self._client.refuse(unavailable("This gateway worker is stopping. Please try again.", "stopping"))

    def on_client_writable(self, writable: bool) -> None:
        """Nothing is written yet."""

    def on_request_body(self, data: bytes) -> None:
        """Bodies come whole."""

    def on_request_end(self) -> None:
        """Bodies come whole."""


def _worst_cost(call: Call, model: ModelEntry) -> int:
    """Micro-credits that the request can cost at most."""
    price = model.price
    if price is None:
        return 0
    prompt = min(call.prompt_bound, model.context_length)
    completion = call.completion_max(model.context_length)
    return pricing.cost_micro(prompt, completion, price.input_micro_per_mtok, price.output_micro_per_mtok)
