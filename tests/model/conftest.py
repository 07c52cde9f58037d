"""Tells which seed the random histories have, before they begin."""

import pytest

from tests.model.histories import HOW_TO_REPEAT


def pytest_report_collectionfinish(items: list[pytest.Item]) -> str:
    """A line above the tests."""
    has_histories = any("tests/model/" in item.nodeid for item in items)
    return f"random histories: {HOW_TO_REPEAT}" if has_histories else ""
