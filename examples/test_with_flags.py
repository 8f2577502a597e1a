"""Tests of code behind a flag, with the pytest plugin: `pytest examples/test_with_flags.py`."""

import pytest

from downhaul import Flag, Flags
from downhaul.integrations.pytest_flags import FlagsFixture

client = Flags.in_memory([Flag.boolean("new_checkout", percent=10)])


def pages(user: str) -> int:
    """Return how many pages the checkout has for a user."""
    return 1 if client.is_enabled("new_checkout", user) else 3


@pytest.fixture
def downhaul_flags() -> Flags:
    """Let the fixture ``flags`` stand on the application's own client."""
    return client


@pytest.mark.flags(new_checkout=True)
def test_one_page() -> None:
    """Set by a marker."""
    assert pages("anna") == 1


def test_three_pages_when_killed(flags: FlagsFixture) -> None:
    """Set, and killed, by the test."""
    flags.set("new_checkout", True)
    flags.kill("new_checkout")
    assert pages("anna") == 3


@pytest.mark.flags_both("new_checkout")
def test_anybody_can_check_out(flags_state: str) -> None:
    """Two tests: on, and killed."""
    assert pages("anna") in (1, 3), flags_state
