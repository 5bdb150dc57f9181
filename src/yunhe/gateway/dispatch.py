"""Which exchange carries out a request: /v1, /gateway, or the relay to control."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import unquote, unquote_to_bytes

import msgspec

from yunhe.core.clock import utc
from yunhe.gateway.admission import Admission, authenticate
from yunhe.gateway.client import JSON, ClientConnection
from yunhe.gateway.control_relay import ControlRelay
from yunhe.gateway.exchange import Exchange
from yunhe.gateway.refusal import Refusal, unknown_model, unknown_path, wrong_method
from yunhe.gateway.request_head import RequestHead
from yunhe.gateway.routes import Key
from yunhe.serve.snapshot import CertificateEntry, ModelEntry

if TYPE_CHECKING:
    from yunhe.gateway.worker import Worker

_ENDPOINTS: Final = {
    b"/v1/chat/completions": "chat.completions",
    b"/v1/completions": "completions",
    b"/v1/embeddings": "embeddings",
}
_MODELS: Final = b"/v1/models"
Produce = Callable[["Worker", RequestHead], tuple[int, bytes, bytes, bytes]]


class Immediate:
    """An exchange that is answered from memory as soon as the request is complete."""

    __slots__ = ("_client", "_head", "_produce", "_worker")

    buffered: ClassVar[bool] = True

    def __init__(self, worker: Worker, client: ClientConnection, head: RequestHead, produce: Produce) -> None:
        """``produce`` answers (status, header lines, body, content type)."""
        self._worker = worker
        self._client = client
        self._head = head
        self._produce = produce

    def begin(self, body: bytes) -> None:
        """Answer."""
        try:
            status, lines, out, content_type = self._produce(self._worker, self._head)
        except Refusal as refusal:
            self._client.refuse(refusal)
            return
        own_id = self._head.headers.get(b"x-request-id", b"")
        self._client.answer(status, lines + self._worker.request_id_lines(own_id), out, content_type)

    def on_request_body(self, data: bytes) -> None:
        """Bodies come whole, and are ignored."""

    def on_request_end(self) -> None:
        """Bodies come whole."""

    def on_client_gone(self) -> None:
        """Nothing was begun."""

    def on_client_writable(self, writable: bool) -> None:
        """One write; the transport holds it."""

    def tick(self, now_s: float) -> None:
        """Answered at once."""

    def stop(self) -> None:
        """Answered at once."""


def dispatch(worker: Worker, client: ClientConnection, head: RequestHead) -> Exchange:
    """The exchange for a request. Raises Refusal."""
    path = head.path
    endpoint = _ENDPOINTS.get(path)
    if endpoint is not None:
        if head.method == b"POST":
            return Admission(worker, client, head, endpoint)
        return _other_method(worker, client, head, b"POST, OPTIONS")
    if path.startswith(b"/v1/") or path == b"/v1":
        return _v1(worker, client, head)
    if path == b"/gateway/health":
        return _get(worker, client, head, _health)
    if path == b"/gateway/metrics":
        return _get(worker, client, head, _metrics)
    plain = path if b"%" not in path else unquote_to_bytes(path)
    first = plain.lstrip(b"/\\").replace(b"\\", b"/").partition(b"/")[0].lower()
    if first in (b"internal", b"gateway", b"v1") or path == b"*":
        raise unknown_path(head.method.decode(), path.decode("latin-1"))
    return ControlRelay(worker, client, head)


def _v1(worker: Worker, client: ClientConnection, head: RequestHead) -> Exchange:
    path = head.path
    if path == _MODELS:
        return _get(worker, client, head, _list_models)
    if path.startswith(_MODELS + b"/") and len(path) > len(_MODELS) + 1:
        return _get(worker, client, head, _one_model)
    raise unknown_path(head.method.decode(), path.decode("latin-1"))


def _get(worker: Worker, client: ClientConnection, head: RequestHead, produce: Produce) -> Exchange:
    if head.method in (b"GET", b"HEAD"):
        return Immediate(worker, client, head, produce)
    return _other_method(worker, client, head, b"GET, HEAD, OPTIONS")


def _other_method(worker: Worker, client: ClientConnection, head: RequestHead, allowed: bytes) -> Exchange:
    if head.method != b"OPTIONS":
        raise wrong_method(head.method.decode(), head.path.decode("latin-1"), allowed)
    return Immediate(worker, client, head, lambda _worker, _head: (200, b"allow: %b\r\n" % allowed, b"", JSON))


def _model_object(model: ModelEntry) -> dict[str, object]:
    return {"id": model.name, "object": "model", "created": model.created_at, "owned_by": model.owned_by}


def _certificate_object(entry: CertificateEntry) -> dict[str, object]:
    """A fidelity certificate as people and programs read it."""
    return {
        "recipe_id": entry.recipe_id,
        "engine": entry.engine,
        "chip": entry.chip,
        "use_class": entry.use_class,
        "verdict": entry.verdict,
        "kl_nats": entry.kl_nats,
        "top1_share": entry.top1_share,
        "positions": entry.positions,
        "dated": utc(entry.made_at),
        "key_id": entry.key_id,
    }


def _may_call(key: Key, name: str) -> bool:
    return key.models is None or name in key.models


def _list_models(worker: Worker, head: RequestHead) -> tuple[int, bytes, bytes, bytes]:
    """Those with a ready replica first, each group by name."""
    key, _ = authenticate(worker, head)
    world = worker.world
    models = [model for model in world.models.values() if _may_call(key, model.name)]
    models.sort(key=lambda model: (model.name not in world.routes, model.name))
    body = msgspec.json.encode({"object": "list", "data": [_model_object(model) for model in models]})
    return 200, b"", body, JSON


def _one_model(worker: Worker, head: RequestHead) -> tuple[int, bytes, bytes, bytes]:
    key, _ = authenticate(worker, head)
    name = unquote(head.path[len(_MODELS) + 1 :].decode("latin-1"), errors="replace")
    model = worker.world.models.get(name)
    if model is None or not _may_call(key, name):
        raise unknown_model(name)
    found = _model_object(model)
    if model.certificates:
        # A member of our own, which OpenAI clients ignore: how faithful what serves the model is, and who says so.
        found["yunhe"] = {"certificates": [_certificate_object(entry) for entry in model.certificates]}
    return 200, b"", msgspec.json.encode(found), JSON


def _health(worker: Worker, head: RequestHead) -> tuple[int, bytes, bytes, bytes]:
    return 200, b"cache-control: no-store\r\n", msgspec.json.encode(worker.health()), JSON


def _metrics(worker: Worker, head: RequestHead) -> tuple[int, bytes, bytes, bytes]:
    return 200, b"cache-control: no-store\r\n", worker.metrics(), b"text/plain; version=0.0.4; charset=utf-8"
