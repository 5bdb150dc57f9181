from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from yunhe.core.home import Home
from yunhe.testing.agent_control import JOIN_TOKEN, AgentControl
from yunhe.testing.agent_instance import AgentInstance


@pytest.fixture
async def instance(tmp_path: Path) -> AsyncIterator[AgentInstance]:
    """An agent's home with a join token, and a control that answers; the test starts the agent."""
    home = Home(tmp_path / "home")
    home.make()
    (home.agent / "join_token").write_text(JOIN_TOKEN)
    control = AgentControl()
    await control.start()
    instance = AgentInstance(home, control)
    yield instance
    if instance.agent is not None and instance.agent.returncode is None:
        await instance.end_agent(signal.SIGKILL)
    assert await instance.stop_all() == 0
    await control.stop()
