"""Fixtures that several kinds of tests share."""

import itertools
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from yunhe.testing.postgres import PostgresServer, running_postgres

_numbers = itertools.count()
# Machines are shared: how long one example takes says nothing of the code.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this test session's own, started at the first use."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty PostgreSQL database, dropped afterwards."""
    name = f"yunhe_{os.getpid()}_{next(_numbers)}"
    yield postgres.create(name)
    postgres.drop(name)
