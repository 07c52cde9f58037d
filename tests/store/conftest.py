"""Every store test that asks for ``url`` is run against both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.postgres_server import PostgresServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The address of a SQLite database that isn't there yet."""
    return f"sqlite:///{tmp_path}/hubd.db"


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """The address of an empty database in PostgreSQL."""
    return postgres.url(postgres.new_database())


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """The address of an empty database of each kind."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found
