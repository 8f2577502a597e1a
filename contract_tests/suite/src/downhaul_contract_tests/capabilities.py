"""What is not declared refuses by name and changes nothing (rule P4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from downhaul.context import Context
from downhaul.errors import DownhaulError, ReadOnly, UnsupportedCapability
from downhaul.flag import Flag, Segment
from downhaul.provider import Capability, FlagProvider, ProviderSnapshot
from downhaul_contract_tests.base import CHANGE, DECLINED, Contract

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

    group = "capabilities"

    @pytest.mark.rule("P4")
    @pytest.mark.parametrize("capability", list(_VERBS), ids=str)
    def test_what_is_not_declared_refuses_by_name_and_changes_nothing(
        self, provider: FlagProvider, capability: Capability
    ) -> None:
        """An undeclared verb raises UnsupportedCapability, or ReadOnly.

        If this fails, check that the verb is left to the base class.
        """
        if capability in provider.capabilities:
            pytest.skip(f"{DECLINED}{provider.name} declares {capability.name}, which must work")
        reads = Capability.READ in provider.capabilities
        before = provider.list() if reads else None
        for verb in _VERBS[capability]:
            with pytest.raises((UnsupportedCapability, ReadOnly)) as refused:
                verb(provider)
            assert provider.name in str(refused.value) or refused.value.provider == provider.name
        if reads:
            assert provider.list() == before

    @pytest.mark.rule("P4")
    @pytest.mark.parametrize("capability", list(_VERBS), ids=str)
    def test_what_is_declared_does_not_refuse(
        self, provider: FlagProvider, capability: Capability
    ) -> None:
        """A declared verb may fail for what it finds, and not for being there.

        If this fails, check ``capabilities``, and that the verb is overridden.
        """
        if capability not in provider.capabilities:
            pytest.skip(f"{DECLINED}{provider.name} does not declare {capability.name}")
        for verb in _VERBS[capability]:
            try:
                verb(provider)
            except (UnsupportedCapability, ReadOnly) as refused:
                pytest.fail(f"{capability.name} is declared, and refused: {refused}")
            except DownhaulError:
                continue  # there is no such flag, segment or snapshot
