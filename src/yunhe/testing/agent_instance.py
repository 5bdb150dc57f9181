"""A real agent process over a directory of its own, with a fake control beside it; for tests of the agent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yunhe.catalogue.builtin import default_model
from yunhe.catalogue.model import EXTERNAL_ENGINE, ExternalServer, Model, Recipe
from yunhe.core.home import Home
from yunhe.serve.sync import DesiredReplica, ObservedReplica
from yunhe.testing.agent_control import AgentControl
from yunhe.testing.gateway_instance import until

MODEL = default_model("model_default", 1_790_000_000.0)
#: Small, so that starts are quick: a tenth of the default context and one slot.
SMALL = {"context_length": 768, "slots": 1}
START_LIMIT_S = 120.0


@dataclass
class AgentInstance:
    """The agent, its home and its control."""

    home: Home
    control: AgentControl
    agent: asyncio.subprocess.Process | None = None

    async def start_agent(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start the agent, or one more."""
        with (self.home.root / "agent.log").open("ab") as log:
            self.agent = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "yunhe.agent", "--home", str(self.home.root),
                "--control-url", self.control.url, *arguments, stdout=log, stderr=log,
            )  # fmt: skip
        return self.agent

    async def end_agent(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal the agent, wait for its end; its exit status."""
        assert self.agent is not None
        if self.agent.returncode is None:
            self.agent.send_signal(number)
        return await asyncio.wait_for(self.agent.wait(), 60)

    async def stop_all(self) -> int:
        """Run `--stop-all`; its exit status."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "yunhe.agent", "--home", str(self.home.root), "--stop-all"
        )
        return await asyncio.wait_for(process.wait(), 60)

    async def cards(self) -> tuple[str, ...]:
        """Uids of the cards, once the agent has told them."""
        await until(lambda: self.control.inventory is not None, "the inventory", limit_s=START_LIMIT_S)
        assert self.control.inventory is not None
        return tuple(card.uid for node in self.control.inventory.nodes for card in node.cards)

    async def desired(self, replica_id: str = "rep_1", model: Model = MODEL, **changes: Any) -> DesiredReplica:
        """A small replica on all cards."""
        recipe = Recipe("recipe_1", "default", model.name, "any", "xllamacpp", dict(SMALL))
        return replace(DesiredReplica(replica_id, "test", model, recipe, await self.cards()), **changes)

    def attached(self, url: str, replica_id: str = "rep_1", **changes: Any) -> DesiredReplica:
        """A server that runs already."""
        model = replace(MODEL, name="attached", probe=replace(MODEL.probe, expect=None))
        recipe = Recipe("recipe_1", "default", "attached", "any", EXTERNAL_ENGINE, {})
        server = ExternalServer(url, None, "fake-model", None)
        return replace(DesiredReplica(replica_id, "test", model, recipe, (), server), **changes)

    async def until(self, replica_id: str, phase: str) -> ObservedReplica:
        """The replica, once it is reported in that phase."""

        def there() -> bool:
            replica = self.control.replica(replica_id)
            return replica is not None and replica.phase == phase

        try:
            await until(there, f"{replica_id} is {phase}", limit_s=START_LIMIT_S)
        except TimeoutError:
            log = (self.home.root / "agent.log").read_text(errors="replace")
            raise AssertionError(f"{replica_id} is {self.control.replica(replica_id)}; agent: {log}") from None
        found = self.control.replica(replica_id)
        assert found is not None
        return found


def alive(pid: int | None) -> bool:
    """Whether the process runs (its remains do not count)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def processes_below(home: Home) -> list[str]:
    """Command lines of processes that belong to a home, by argument or by the mark of its workloads."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        if int(path.name) == os.getpid():
            continue
        try:
            texts = (path / "cmdline").read_bytes() + b"\0" + (path / "environ").read_bytes()
        except OSError:
            continue
        if str(home.root / "agent").encode() in texts:
            found.append(texts.split(b"\0\0")[0].decode(errors="replace"))
    return found
