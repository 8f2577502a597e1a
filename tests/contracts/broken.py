"""What a provider that is broken on purpose is, and how it binds the contract."""

from dataclasses import dataclass
from functools import partial

import pytest
from contract_backends import IN_ONE_PROCESS, MemoryBackend
from downhaul_contract_tests import ProviderContract
from resolving import ResolvingBackend, ResolvingProvider

PATIENCE = 0.5  # seconds; what doesn't come at once in one process doesn't come


@dataclass(frozen=True)
class Mutant:
    """A broken provider, and the names of the tests that catch it."""

    provider: type
    caught_by: frozenset[str]
    by_luck: frozenset[str]
    """Tests of races, which catch it when its writes happen to meet another's."""

    @property
    def name(self):
        return self.provider.__name__

    def binding(self):
        """Return the class that binds the contract to it."""
        resolves = issubclass(self.provider, ResolvingProvider)
        home = ResolvingBackend if resolves else MemoryBackend
        make = partial(home, self.provider, PATIENCE)
        fields = {
            "lacks": IN_ONE_PROCESS,
            "backend": pytest.fixture(lambda self: make()),
        }
        return type(f"Test{self.name}", (ProviderContract,), fields)


MUTANTS = []


def caught_by(*tests, by_luck=()):
    """Enter a broken provider, with the tests that name its fault."""

    def enter(provider):
        MUTANTS.append(Mutant(provider, frozenset(tests), frozenset(by_luck)))
        return provider

    return enter
