"""What every group of the contract stands on: its fixtures, and the gate before each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final, TypeVar

import pytest

from downhaul.provider import Capability, FlagProvider
from downhaul_contract_tests.backend import CHANGE as CHANGE  # noqa: PLC0414  (for the groups)
from downhaul_contract_tests.backend import Backend, Feature, Offer, offers
from downhaul_contract_tests.case import Case

MakeProvider = Callable[[], FlagProvider]
Need = Capability | Feature | Offer
Marked = TypeVar("Marked", bound=Callable[..., Any] | type)

DECLINED: Final = "declined: "
"""How the reason begins with which a test that doesn't apply is skipped."""

_NEEDS: Final = "__contract_needs__"


def needs(*what: Need) -> Callable[[Marked], Marked]:
    """Say what a test, or every test of a group, needs; without it the test is declined."""

    def mark(test: Marked) -> Marked:
        setattr(test, _NEEDS, (*vars(test).get(_NEEDS, ()), *what))
        return test

    return mark


class Contract:
    """A base for groups of the contract, with the fixtures that a binding overrides."""

    group: ClassVar[str] = ""
    lacks: ClassVar[Mapping[Feature, str]] = {}
    """What the backend's model of flags cannot say, each with the reason."""
    known_gaps: ClassVar[Mapping[str, str]] = {}
    """Tests that are known to fail, each with the reason: they must fail until it is gone.

    ``test_x`` is a gap in every case of a test, ``test_x[case]`` in one."""

    @pytest.fixture
    def backend(self) -> Backend:
        """Return the backend under test. Override this one."""
        message = "override the fixture `backend`, and return a Backend from it"
        raise NotImplementedError(message)

    @pytest.fixture
    def make_provider(self, backend: Backend) -> MakeProvider:
        """Return what makes providers on one and the same, still empty, store."""
        backend.reset()
        return backend.provider

    @pytest.fixture
    def provider(self, make_provider: MakeProvider) -> Iterator[FlagProvider]:
        """A provider that nobody started, closed at the end."""
        made = make_provider()
        yield made
        made.close()

    @pytest.fixture(autouse=True)
    def contract_gate(self, request: pytest.FixtureRequest, provider: FlagProvider) -> None:
        """Decline what doesn't apply, and expect what is known to fail."""
        contract_seen(type(self), provider)
        for need in needs_of(type(self), request.function):
            why = missing(need, provider, self.lacks, request)
            if why:
                pytest.skip(f"{DECLINED}{why}")
        name: str = request.node.name  # with its parameters; a gap may be in one case alone
        gap = self.known_gaps.get(name, self.known_gaps.get(request.function.__name__))
        if gap is not None:
            request.node.add_marker(pytest.mark.xfail(strict=True, reason=f"known gap: {gap}"))

    @pytest.fixture
    def case(self, backend: Backend, provider: FlagProvider) -> Iterator[Case]:
        """The backend with what a test does to it; all that it made is closed at the end."""
        made = Case(backend, provider, self.lacks)
        try:
            yield made
        finally:
            made.close()


def needs_of(binding: type, test: Callable[..., Any]) -> tuple[Need, ...]:
    """Return what a test of a binding needs: what its group says, and what it says itself."""
    home = group_of(binding, test.__name__)
    return (*vars(home).get(_NEEDS, ()), *getattr(test, _NEEDS, ()))


def group_of(binding: type, test: str) -> type:
    """Return the class that a test of a binding comes from."""
    return next((one for one in binding.__mro__ if test in vars(one)), binding)


def missing(
    need: Need,
    provider: FlagProvider,
    lacks: Mapping[Feature, str],
    request: pytest.FixtureRequest,
) -> str:
    """Return why a need isn't met, or nothing."""
    if isinstance(need, Capability):
        if need in provider.capabilities:
            return ""
        declared = ", ".join(sorted(provider.capabilities))
        return f"{provider.name} does not declare {need.name} (it declares {declared})"
    if isinstance(need, Feature):
        return f"{provider.name} lacks {need.value}: {lacks[need]}" if need in lacks else ""
    if need is Offer.CONTROL:
        carries = getattr(provider, "control", None) is not None
        return "" if carries else f"{provider.name} carries no control store"
    backend: Backend = request.getfixturevalue("backend")
    if _offered(need, provider, backend):
        return ""
    return f"the backend of {provider.name} offers no {need.value}"


def _offered(need: Offer, provider: FlagProvider, backend: Backend) -> bool:
    if need is Offer.CHANGE:
        return offers(backend, "change") or Capability.WRITE in provider.capabilities
    if need is Offer.OUTAGE:
        return offers(backend, "outage") and offers(backend, "restore")
    if need is Offer.SECRETS:
        return bool(getattr(backend, "secrets", ()))
    return offers(backend, need.value)


_seen: Final[dict[type, dict[str, Any]]] = {}


def contract_seen(binding: type, provider: FlagProvider) -> dict[str, Any]:
    """Note, for the report, which provider a binding is about."""
    return _seen.setdefault(
        binding,
        {"provider": provider.name, "capabilities": sorted(map(str, provider.capabilities))},
    )


def seen_of(binding: type) -> Mapping[str, Any]:
    """Return what was noted of a binding."""
    return _seen.get(binding, {})
