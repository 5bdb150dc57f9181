"""The adaptations that control desires of this centre: taken up one by one, reported, cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from yunhe.adapt.adaptation import Ended, TuningOrder, TuningReport
from yunhe.agent.drivers import Engines
from yunhe.agent.supervisor import Supervisor
from yunhe.agent.tuning.judging import Judge
from yunhe.agent.tuning.place import Place
from yunhe.agent.tuning.stage import Stage
from yunhe.agent.tuning.tuner import Tuner
from yunhe.core.errors import YunheError
from yunhe.pool.model import Card, Node

_LOG = logging.getLogger(__name__)
#: Of a report; the rest follows with the next.
ENTRIES_MAX: Final = 32
BYTES_MAX: Final = 512 * 1024
#: Reference weights and their records, which adaptations of one model share.
SHARED: Final = "fidelity"


class TuningDesk:
    """Level-triggered, as all of the agent: told what is desired again and again, it changes nothing twice."""

    def __init__(self, supervisor: Supervisor, engines: Engines, root: Path, launches: Path, weights: Path) -> None:
        self._supervisor, self._engines = supervisor, engines
        self._root, self._launches, self._weights = root, launches, weights
        self._tuners: dict[str, Tuner] = {}
        self._orders: dict[str, TuningOrder] = {}
        self._task: asyncio.Task[None] | None = None
        self._current = ""

    def want(self, texts: Sequence[str]) -> None:
        """The newest that control wants. An order that cannot be read is refused in the log; the others are taken."""
        orders = {}
        for text in texts:
            try:
                order = msgspec.json.decode(text, type=TuningOrder)
            except msgspec.MsgspecError as error:
                _LOG.error("an order of control cannot be read: %s", error)
                continue
            if not order.adaptation_id.replace("_", "").replace("-", "").isalnum():
                _LOG.error("control names an adaptation in a way that could leave this directory")
                continue
            orders[order.adaptation_id] = order
        self._orders = orders
        self._step()

    def _step(self) -> None:
        """Take up the first that shall run, or end what shall not."""
        running = self._task is not None and not self._task.done()
        wanted = self._orders.get(self._current)
        if running and (wanted is None or not wanted.run):
            assert self._task is not None
            self._task.cancel()
            return
        if running:
            self._tuners[self._current].order = self._orders[self._current]
            return
        for known in [name for name in self._tuners if name not in self._orders]:
            del self._tuners[known]
        for order in self._orders.values():
            tuner = self._tuner(order)
            if tuner is not None and not tuner.ended:
                self._current = order.adaptation_id
                self._task = asyncio.create_task(self._carry_out(tuner, order.run), name=f"tune {self._current}")
                return

    def _tuner(self, order: TuningOrder) -> Tuner | None:
        known = self._tuners.get(order.adaptation_id)
        if known is not None:
            known.order = order
            return known
        place = self._place(order)
        if place is None:
            return None
        stage = Stage(self._supervisor, self._launches, order.adaptation_id, order.model, order.cards)
        judge = Judge(stage, order, place, self._root / SHARED, self._weights)
        try:
            made = Tuner(order, place, stage, judge, self._supervisor.changed.set)
        except (YunheError, OSError) as error:
            _LOG.error("adaptation %s: %s", order.adaptation_id, error)
            return None
        judge.tell = made.tell
        self._tuners[order.adaptation_id] = made
        return made

    def _place(self, order: TuningOrder) -> Place | None:
        """None while the inventory is not known, or lacks the cards."""
        nodes = self._supervisor.inventory.nodes if self._supervisor.inventory else ()
        found: list[tuple[Card, Node]] = [(c, node) for node in nodes for c in node.cards if c.uid in order.cards]
        if len(found) != len(order.cards) or not found:
            return None
        cards = tuple(card for card, _ in found)
        directory = self._root / order.adaptation_id
        return Place(self._engines, cards, found[0][1], "this centre's tuner", directory)

    async def _carry_out(self, tuner: Tuner, run: bool) -> None:
        try:
            if run:
                await tuner.run()
            else:
                await tuner.cancel()
        except asyncio.CancelledError:
            order = self._orders.get(tuner.order.adaptation_id)
            if order is not None and not order.run:
                await tuner.cancel()
        except Exception:  # noqa: BLE001 - the edge of a tuner: it must not take the agent down
            _LOG.exception("adaptation %s", tuner.order.adaptation_id)
            tuner.fail("the tuner failed; the agent's log says how")
        asyncio.get_running_loop().call_soon(self._step)

    def reports(self) -> tuple[str, ...]:
        """What control is told: JSON texts of ``TuningReport``."""
        return tuple(
            msgspec.json.encode(_report(self._tuners[name], order)).decode()
            for name, order in self._orders.items()
            if name in self._tuners
        )

    async def let_go(self) -> None:
        """Stop for now; the journals say where to go on."""
        if self._task is not None:
            self._orders = {name: msgspec.structs.replace(o, run=True) for name, o in self._orders.items()}
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _report(tuner: Tuner, order: TuningOrder) -> TuningReport:
    known = order.entries_known
    texts: list[str] = []
    size = 0
    for text in tuner.journal.texts[known : known + ENTRIES_MAX]:
        if texts and size + len(text) > BYTES_MAX:
            break
        texts.append(text)
        size += len(text)
    last = tuner.journal.entries[-1] if tuner.journal.entries else None
    phase, activity = (last.phase, last.reason) if isinstance(last, Ended) else (tuner.phase, tuner.activity)
    if isinstance(last, Ended) and known + len(texts) < len(tuner.journal.texts):
        # Control shall see the end only with everything before it.
        phase = "confirming"
    return TuningReport(order.adaptation_id, phase, activity, known, tuple(texts), round(tuner.used_s, 1))
