"""What is not declared refuses by name and changes nothing (rule P4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from downhaul.context import Context
from downhaul.errors import ReadOnly, UnsupportedCapability
from downhaul.flag import Flag, Segment
from downhaul.provider import Capability, FlagProvider, ProviderSnapshot
from downhaul_contract_tests.base import CHANGE, Contract

_FLAG = Flag.boolean("one")
_SNAPSHOT = ProviderSnapshot("one", "", "1", {"key": "one"}, "2026-01-01T00:00:00Z")

_VERBS: Mapping[Capability, tuple[Callable[[FlagProvider], Any], ...]] = {
    Capability.RESOLVE: (lambda one: one.resolve("one", Context("ada"), None),),
    Capability.READ: (lambda one: one.get("one"), lambda one: one.list()),
    Capability.WRITE: (
        lambda one: one.put(_FLAG, CHANGE),
        lambda one: one.delete("one", CHANGE),
        lambda one: one.switch_on("one", CHANGE),
        lambda one: one.switch_off("one", CHANGE),
        lambda one: one.set_rollout("one", "on", 1_000, CHANGE),
        lambda one: one.set_targets("one", "on", ["ada"], CHANGE),
    ),
    Capability.SEGMENTS: (
        lambda one: one.put_segment(Segment("staff"), CHANGE),
        lambda one: one.delete_segment("staff", CHANGE),
    ),
    Capability.HISTORY: (lambda one: one.history(),),
    Capability.SNAPSHOT: (
        lambda one: one.snapshot("one"),
        lambda one: one.restore(_SNAPSHOT, CHANGE),
    ),
}


class CapabilitiesContract(Contract):
    """For every provider: what it doesn't declare, it refuses."""

    @pytest.mark.rule("P4")
    @pytest.mark.parametrize("capability", list(_VERBS), ids=str)
    def test_what_is_not_declared_refuses_by_name_and_changes_nothing(
        self, provider: FlagProvider, capability: Capability
    ) -> None:
        if capability in provider.capabilities:
            return  # that it works is what the other contracts show
        reads = Capability.READ in provider.capabilities
        before = provider.list() if reads else None
        for verb in _VERBS[capability]:
            with pytest.raises((UnsupportedCapability, ReadOnly)) as refused:
                verb(provider)
            assert provider.name in str(refused.value) or refused.value.provider == provider.name
        if reads:
            assert provider.list() == before

    @pytest.mark.rule("P4")
    def test_it_has_rules_or_resolves(self, provider: FlagProvider) -> None:
        assert provider.capabilities & {Capability.FLAG_SET, Capability.RESOLVE}
        assert provider.name
