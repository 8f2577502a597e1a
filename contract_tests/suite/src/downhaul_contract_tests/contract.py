"""All groups as the one class that a binding inherits from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final

from downhaul_contract_tests.base import Contract, group_of
from downhaul_contract_tests.capabilities import CapabilitiesContract
from downhaul_contract_tests.concurrency import ConcurrencyContract
from downhaul_contract_tests.defaults import DefaultsContract
from downhaul_contract_tests.flags import FlagsContract
from downhaul_contract_tests.following import FollowingContract
from downhaul_contract_tests.forks import ForksContract
from downhaul_contract_tests.killing import KillingContract
from downhaul_contract_tests.kills import KillsContract
from downhaul_contract_tests.leaks import LeaksContract
from downhaul_contract_tests.lifecycle import LifecycleContract
from downhaul_contract_tests.names import NamesContract
from downhaul_contract_tests.outages import OutagesContract
from downhaul_contract_tests.percentages import PercentagesContract
from downhaul_contract_tests.read_back import ReadBackContract
from downhaul_contract_tests.redaction import RedactionContract
from downhaul_contract_tests.restoring import RestoringContract
from downhaul_contract_tests.rollouts import RolloutsContract
from downhaul_contract_tests.segments import SegmentsContract
from downhaul_contract_tests.size import SizeContract
from downhaul_contract_tests.targeting import TargetingContract
from downhaul_contract_tests.targets import TargetsContract
from downhaul_contract_tests.values import ValuesContract
from downhaul_contract_tests.watching import WatchingContract

GROUPS: Final[tuple[type[Contract], ...]] = (
    LifecycleContract,
    CapabilitiesContract,
    ValuesContract,
    DefaultsContract,
    TargetingContract,
    PercentagesContract,
    TargetsContract,
    FlagsContract,
    SegmentsContract,
    ReadBackContract,
    RestoringContract,
    KillingContract,
    KillsContract,
    RolloutsContract,
    FollowingContract,
    WatchingContract,
    OutagesContract,
    ForksContract,
    ConcurrencyContract,
    LeaksContract,
    RedactionContract,
    NamesContract,
    SizeContract,
)
"""Every group, in the order of the report."""


class ProviderContract(*GROUPS):  # type: ignore[misc]  # the list above is the one list
    """What every provider must hold. Inherit, and override the fixture ``backend``.

    For example::

        class TestAcme(ProviderContract):
            @pytest.fixture
            def backend(self):
                return AcmeBackend()

    Raises TypeError for a subclass that overrides or deletes a test, or declares a gap in a test
    that there is none of.
    """

    suite: ClassVar[str] = "1.0"
    """The version of the suite. A tighter test is a new minor version."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        wrong = list(tampered(cls))
        if wrong:
            raise TypeError(f"{cls.__name__} is no binding of the contract: {'; '.join(wrong)}")


TESTS: Final[Mapping[str, Callable[..., Any]]] = {
    name: test for group in GROUPS for name, test in vars(group).items() if name.startswith("test_")
}
"""Every test of the contract, as it was when it was imported."""


def tampered(binding: type[ProviderContract]) -> Iterator[str]:
    """Yield what of the contract is not as it was in a binding."""
    for name, test in TESTS.items():
        if vars(group_of(binding, name)).get(name) is not test:
            yield f"{name} is overridden or deleted: declare a gap in `known_gaps` instead"
    if group_of(binding, "contract_gate") is not Contract:
        yield "the fixture contract_gate is overridden"
    for name in binding.known_gaps:
        if name.partition("[")[0] not in TESTS:
            yield f"`known_gaps` names {name}, and there is no such test"
    declared: dict[str, str] = {**binding.known_gaps, **binding.lacks}
    for name, reason in declared.items():
        if not reason.strip():
            yield f"{name} is declared without a reason"
