"""The port between a client's connection and whatever carries its request out."""

from __future__ import annotations

from typing import ClassVar, Protocol


class Exchange(Protocol):
    """What carries one request out."""

    #: True: ``begin`` gets the whole body. False: the body comes in pieces as it arrives.
    buffered: ClassVar[bool]

    def begin(self, body: bytes) -> None:
        """The head and (when buffered) the body are there."""
        ...

    def on_request_body(self, data: bytes) -> None:
        """A piece of a body that is not buffered."""
        ...

    def on_request_end(self) -> None:
        """The body that is not buffered is complete."""
        ...

    def on_client_gone(self) -> None:
        """The client's connection ended before the answer did."""
        ...

    def on_client_writable(self, writable: bool) -> None:
        """Whether the client takes more."""
        ...

    def tick(self, now_s: float) -> None:
        """Called a few times a second; time-outs."""
        ...

    def stop(self) -> None:
        """The worker stops: end now, with an error where one can still be told."""
        ...
