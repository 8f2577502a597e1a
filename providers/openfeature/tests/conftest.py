"""What the tests of this provider share."""

import sys
import time
from pathlib import Path

import pytest
from downhaul_openfeature.provider import OpenFeatureProvider
from openfeature import api

from downhaul import Flags

sys.path.insert(0, str(Path(__file__).parent))  # the stubs are a module of these tests


@pytest.fixture
def over():
    """Return what puts a client over a stub, ready."""
    made = []

    def make(stub, *, watch=False, **fields):
        flags = Flags.over(OpenFeatureProvider.over(stub, watch=watch), **fields)
        made.append(flags)
        return flags

    yield make
    for flags in made:
        flags.close()


@pytest.fixture(autouse=True)
def _nothing_left():
    """Leave OpenFeature's modules as they were: its hooks and contexts are the process's own."""
    yield
    api.shutdown()


@pytest.fixture
def until():
    """Return what waits for a thing to hold, with a limit."""

    def wait(holds, limit=5.0):
        end = time.monotonic() + limit
        while not holds():
            assert time.monotonic() < end, "it did not come to hold"
            time.sleep(0.005)

    return wait
