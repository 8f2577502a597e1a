"""An operator on flags in memory, and the parts of it that the tests look into."""

import pytest

from downhaul.backends.memory import MemoryProvider
from downhaul.control import Operator
from downhaul.flag import Flag, FlagKind, Split, Weight
from downhaul.provider import FlagSet


def at(percent, key="agent", **fields):
    return Flag.boolean(key, percent=percent, **fields)


MODEL = Flag(
    key="model",
    kind=FlagKind.STRING,
    variants={"old": "m-1", "new": "m-2"},
    off_variant="old",
    default="old",
    on=True,
)
ARMS = Flag(
    key="arms",
    kind=FlagKind.STRING,
    variants={"none": "0", "a": "1", "b": "2"},
    off_variant="none",
    default=Split((Weight("a", 30_000), Weight("b", 30_000), Weight("none", 40_000))),
    on=True,
)


@pytest.fixture
def provider():
    return MemoryProvider(FlagSet.of([at(25, tags=("agents",)), MODEL, ARMS]))


@pytest.fixture
def operator(provider):
    with Operator(provider, provider.control, actor="ana") as operator:
        yield operator
