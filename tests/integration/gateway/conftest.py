"""A gateway between a fake control and fake engines."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from yunhe.testing.gateway_instance import GatewayInstance


@pytest.fixture
async def instance(tmp_path: Path) -> AsyncIterator[GatewayInstance]:
    made = GatewayInstance(tmp_path / "home")
    yield made
    await made.stop()
