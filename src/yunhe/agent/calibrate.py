"""``python -m yunhe.agent.calibrate --home H``: measures the chip of this machine, then each engine on it.

Needs no server, and runs beside an agent without touching its workloads: probes are replicas of a directory of their
own. JSON lines on standard output; the result is written to ``H/calibrations/CHIP.json``. Less than three minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from msgspec.structs import replace

from yunhe.adapt.measured_chip import MeasuredChip, MeasuredEngine, MeasuredPeak, MeasuredTier
from yunhe.agent import files, inventory
from yunhe.agent.calibrate_chip import measure_chip
from yunhe.agent.calibrate_documents import Begun, Document, Done, Failed, Progress
from yunhe.agent.calibrate_engines import probe_engine
from yunhe.agent.calibrate_model import described, find_model
from yunhe.agent.drivers import Engines, load_centre, load_chips, load_engines
from yunhe.agent.files import Layout
from yunhe.agent.lock import held
from yunhe.agent.stop import stop_all
from yunhe.agent.supervisor import Supervisor
from yunhe.agent.tuning.stage import Stage
from yunhe.catalogue.builtin import DEFAULT_MODEL
from yunhe.catalogue.model import EXTERNAL_ENGINE, Model
from yunhe.catalogue.ports import Engine
from yunhe.core.errors import InvalidRequest, YunheError
from yunhe.core.home import Home, default_home
from yunhe.drivers.engines.installed import ENGINES_VARIABLE
from yunhe.pool.model import Card, Inventory

_LOG = logging.getLogger("yunhe.agent.calibrate")
#: Of the whole. What has not been measured by then is left out, and said to be.
LIMIT_S: Final = 165.0
#: Of that, stopping the last engine.
STOP_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Ask:
    """What the command line says."""

    home: Home
    model: str
    #: Empty: every engine that is installed here.
    engines: tuple[str, ...]
    limit_s: float


class Calibration:
    """One run."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._began_s = time.monotonic()
        self._layout = Layout(ask.home.agent / "calibration")

    async def run(self) -> Done:
        """Measure and write. Raises YunheError, OSError."""
        self._layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._layout.make()
        with held(self._layout.lock, 1.0):
            centre = load_centre("local", self._layout.workloads)
            # What a killed predecessor left.
            await asyncio.to_thread(stop_all, centre, self._layout.launches)
            try:
                return await self._measure(centre)
            finally:
                await asyncio.to_thread(stop_all, centre, self._layout.launches)
                shutil.rmtree(self._layout.launches, ignore_errors=True)

    async def _measure(self, centre: Any) -> Done:
        began_at = time.time()
        chips = load_chips()
        taken = await asyncio.to_thread(inventory.take, centre, chips)
        card, chip = _calibrated_card(taken, chips)
        model = await asyncio.to_thread(find_model, self._ask.model, began_at)
        engines = load_engines()
        wanted = _wanted(engines, self._ask.engines, model, card)
        self._tell(Begun(1, 1 + len(wanted), f"Measure {card.model_name}", self._share()))
        tiers, peaks, notes = await self._measure_chip(chip, card)
        found = await self._probe(centre, taken, card, model, engines, wanted)
        made = MeasuredChip(
            schema=1,
            chip=card.chip,
            card=card.uid,
            model_name=card.model_name,
            maker=card.maker,
            kind=card.kind,
            cores=card.cores,
            memory_bytes=card.memory_bytes,
            features=card.features,
            driver_version=card.driver_version,
            tiers=tiers,
            peaks=peaks,
            model=described(model),
            engines=tuple(found),
            began_at=began_at,
            duration_s=time.monotonic() - self._began_s,
            notes=notes,
        )
        return self._keep(made)

    async def _probe(
        self, centre: Any, taken: Inventory, card: Card, model: Model, engines: Engines, wanted: Sequence[Engine]
    ) -> list[MeasuredEngine]:
        """Each engine in turn, as replicas of this directory."""
        found: list[MeasuredEngine] = []
        async with httpx.AsyncClient(trust_env=False) as client:
            supervisor = Supervisor(centre, engines, self._layout, client)
            supervisor.inventory = taken
            watch = asyncio.create_task(supervisor.watch())
            stage = Stage(
                supervisor, self._layout.launches, f"calibration-{time.time_ns():x}"[-10:], model, (card.uid,)
            )
            try:
                for number, engine in enumerate(wanted):
                    self._tell(
                        Begun(number + 2, 1 + len(wanted), f"Probe {engine.name} {engine.version}", self._share())
                    )
                    deadline = self._deadline(len(wanted) - number)
                    found.append(await probe_engine(engine, model, card, stage, deadline, self._seen))
            finally:
                await stage.clear()
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)
                await supervisor.let_go()
        return found

    async def _measure_chip(
        self, chip: Any, card: Card
    ) -> tuple[tuple[MeasuredTier, ...], tuple[MeasuredPeak, ...], tuple[str, ...]]:
        """Off the loop; the thread ends soon after this is cancelled, and says no more."""
        stopped = threading.Event()

        def seen(_: float, line: str) -> None:
            if not stopped.is_set():
                self._seen(line)

        try:
            return await asyncio.to_thread(measure_chip, chip, card, seen, lambda: not stopped.is_set())
        finally:
            stopped.set()

    def _keep(self, made: MeasuredChip) -> Done:
        """Write it, with engines that an earlier run measured on the same card by the same model."""
        directory = self._ask.home.root / "calibrations"
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{made.chip}.json"
        old = files.load(path, MeasuredChip)
        if old is not None and self._ask.engines and (old.card, old.model) == (made.card, made.model):
            names = {engine.name for engine in made.engines}
            kept = tuple(engine for engine in old.engines if engine.name not in names)
            made = replace(made, engines=(*made.engines, *kept))
        files.save(path, made)
        return Done(str(path), made)

    def _deadline(self, engines_left: int) -> float:
        """Engines that are left share the time that is left."""
        now = time.monotonic()
        return now + max(0.0, self._began_s + self._ask.limit_s - STOP_S - now) / engines_left

    def _share(self) -> float:
        return min(0.99, (time.monotonic() - self._began_s) / self._ask.limit_s)

    def _seen(self, line: str) -> None:
        self._tell(Progress(self._share(), line))

    def _tell(self, document: Document) -> None:
        tell(document)


def _calibrated_card(taken: Inventory, chips: Sequence[Any]) -> tuple[Card, Any]:
    """The first card whose driver can measure, and that driver. Raises InvalidRequest."""
    by_maker = {chip.maker: chip for chip in chips if hasattr(chip, "calibrate")}
    for node in taken.nodes:
        for card in node.cards:
            chip = by_maker.get(card.kind) or by_maker.get(card.maker)
            if chip is not None:
                return card, chip
    raise InvalidRequest(
        "no chip of this machine can be measured", next_step="`yunhe doctor` shows which cards were found."
    )


def _wanted(engines: Engines, names: Sequence[str], model: Model, card: Card) -> list[Engine]:
    """Those named, else every installed one that can run the model here. Raises InvalidRequest."""
    verdicts = {name: engine.supports(model, card) for name, engine in engines.by_name.items()}
    if not names:
        return [engines.by_name[name] for name, said in verdicts.items() if said.supported and name != EXTERNAL_ENGINE]
    for name in names:
        said = verdicts.get(name)
        if said is None or not said.supported or name == EXTERNAL_ENGINE:
            raise InvalidRequest(
                f"{name} cannot be measured here: {said.reason if said else 'it is not installed'}",
                next_step="`yunhe engine list` shows which engines there are.",
            )
    return [engines.by_name[name] for name in dict.fromkeys(names)]


def tell(document: Document) -> None:
    """One line."""
    sys.stdout.buffer.write(msgspec.json.encode(document) + b"\n")
    sys.stdout.buffer.flush()


async def _run(ask: Ask) -> int:
    task = asyncio.create_task(Calibration(ask).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        tell(await task)
    except asyncio.CancelledError:
        tell(Failed("interrupted", "the calibration was interrupted", "Run it again."))
        return 1
    except YunheError as error:
        tell(Failed(error.code, error.message, error.next_step or ""))
        return 1
    except OSError as error:
        tell(Failed("cannot_write", f"{error.filename or ask.home.root}: {error.strerror}", "Make it writable."))
        return 1
    return 0


def main() -> int:
    """See the module. Exit status 0 with a ``done`` document, 1 with a ``failed`` one."""
    parser = argparse.ArgumentParser(prog="python -m yunhe.agent.calibrate", description=__doc__)
    parser.add_argument("--home", type=Path, default=default_home())
    parser.add_argument("--model", default=DEFAULT_MODEL, help="the bundled model, or a GGUF file")
    parser.add_argument("--engine", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--limit-s", type=float, default=LIMIT_S, help="time for the whole")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    home = Home(given.home.expanduser().absolute())
    os.environ[ENGINES_VARIABLE] = str(home.engines)
    return asyncio.run(_run(Ask(home, given.model, tuple(given.engine), given.limit_s)))


if __name__ == "__main__":
    sys.exit(main())
