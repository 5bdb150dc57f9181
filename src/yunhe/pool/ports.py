"""The Protocols of the pool's plug-ins: how a centre runs workloads, and how cards are found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from yunhe.pool.model import Card, Inventory
from yunhe.pool.workload import LogChunk, Workload, WorkloadStatus


class CentreDriver(Protocol):
    """How workloads run in one kind of centre (entry point group ``yunhe.centres``).

    A driver is made by ``Driver(state_dir: Path)`` and keeps what it must remember below that directory, so that a new
    instance over the same directory adopts what runs. Calls may block; the agent runs them off its event loop.
    """

    def inventory(self) -> Inventory:
        """Nodes and cards present now. Raises CentreUnavailable when the engine does not answer (retry helps)."""
        ...

    def start(self, workload: Workload) -> None:
        """Start it; success means the engine accepted it, not that it runs. Idempotent by workload id.

        One that has ended is not run again before it was forgotten. Raises WorkloadRejected when it can never run here
        (no retry), CentreUnavailable when a retry may help.
        """
        ...

    def observe(self) -> Sequence[WorkloadStatus]:
        """Every workload that this driver started and has not forgotten, exited ones included."""
        ...

    def stop(self, workload_id: str, grace_s: float) -> None:
        """Ask it to end, kill the whole group after ``grace_s``; returns at once. Unknown or ended ids are no error."""
        ...

    def logs(self, workload_id: str, offset: int, limit_bytes: int) -> LogChunk:
        """A piece of its joined stdout and stderr, also after its end; a negative offset counts from the log's end.

        Raises KeyError for an unknown id.
        """
        ...


class CentreForgets(Protocol):
    """Optional capability: drop what is remembered of an ended workload, its log included."""

    def forget(self, workload_id: str) -> None:
        """Forget an ended workload; unknown ids are no error."""
        ...


class CentreReads(Protocol):
    """Capability that engines which choose their own port need: read a small file that a workload wrote."""

    def read_file(self, workload_id: str, name: str) -> str | None:
        """The text of ``name`` in the workload's working directory; None while there is none."""
        ...


class ChipDriver(Protocol):
    """How one maker's cards are found (entry point group ``yunhe.chips``)."""

    #: Catalogue name of the maker.
    maker: str

    def probe_command(self) -> tuple[str, ...]:
        """The command whose output tells the cards; empty when files are read instead."""
        ...

    def parse(self, stdout: str, stderr: str, exit_code: int) -> list[Card]:
        """Cards from the command's output. Pure. Unknown fields are None, never zero, never healthy."""
        ...


class ChipMeasures(Protocol):
    """Optional capability: measure a present card's speeds."""

    def measure(self, card: Card, cache_dir: Path) -> Card:
        """The card with measured ``speeds``; cached below ``cache_dir`` by the card's identity. Takes seconds."""
        ...
