"""Tells which seed the simulated histories have, before they begin."""

import pytest

from tests.simulation.seeds import HOW_TO_REPEAT


def pytest_report_collectionfinish(items: list[pytest.Item]) -> str:
    """A line above the tests."""
    has_histories = any("tests/simulation/" in item.nodeid for item in items)
    return f"simulated histories: {HOW_TO_REPEAT}" if has_histories else ""
