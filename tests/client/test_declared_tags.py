"""Declared tags count on backends that publish their rules, which say all else themselves."""

import pytest

from downhaul import Flags
from downhaul.backends.memory import MemoryProvider
from downhaul.config import Declaration
from downhaul.flag import Flag, FlagKind
from downhaul.provider import Change
from downhaul.result import ErrorCode, Reason

CHANGE = Change("ana")


@pytest.fixture
def provider():
    made = MemoryProvider()
    made.put(Flag.boolean("agent", tags=("own",)), CHANGE)
    made.put(Flag.boolean("free"), CHANGE)
    return made


@pytest.mark.rule("K2")
@pytest.mark.parametrize("tag", ["agents", "own"])
def test_a_kill_of_a_declared_tag_and_of_its_own_finds_the_flag(provider, tag):
    with Flags.over(provider, declarations={"agent": Declaration(tags=("agents",))}) as flags:
        flags.operator("ana").kill(f"tag:{tag}", "slow")
        assert flags.evaluate("agent", "ada", default=True).reason is Reason.KILLED
        assert flags.is_enabled("free", "ada")


@pytest.mark.rule("K2")
def test_a_declared_tag_stays_when_the_flag_changes(provider):
    with Flags.over(provider, declarations={"agent": Declaration(tags=("agents",))}) as flags:
        flags.operator("ana").kill("tag:agents", "slow")
        provider.put(Flag.boolean("agent", percent=50, description="other"), CHANGE)
        assert flags.evaluate("agent", "ada", default=True).reason is Reason.KILLED


def test_nothing_else_of_a_declaration_counts_where_the_backend_says_it(provider):
    declared = {
        "agent": Declaration(kind=FlagKind.STRING, off="none"),
        "nowhere": Declaration(tags=("agents",)),
    }
    with Flags.over(provider, declarations=declared) as flags:
        result = flags.evaluate("agent", "ada", default=False)
        assert (result.value, result.variant) == (True, "on")
        missing = flags.evaluate("nowhere", "ada", default=True)
        assert missing.error_code is ErrorCode.FLAG_NOT_FOUND
