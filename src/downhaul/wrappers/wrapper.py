"""A provider around a provider, which passes on what it does not change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, cast

from downhaul.context import Context
from downhaul.flag import Flag, FlagKind, FlagSet, Segment
from downhaul.ledger import Translation
from downhaul.provider import (
    Change,
    ChangeRecords,
    FlagProvider,
    Listener,
    ProviderSnapshot,
    ProviderStatus,
)
from downhaul.result import Result


class Wrapper(FlagProvider):
    """Base of every wrapper: the ``inner`` provider, under its own name and with its capabilities.

    Override what the wrapper is about. What else the inner provider has (``control``, where it
    keeps kills) is there too; only ``within``, by which writes join a transaction of the inner
    provider's database, is a wrapper's own or nobody's: it would lead past what the wrapper does.
    ``label`` is what the wrapper is called in configuration.
    """

    label: str = ""

    def __init__(self, inner: FlagProvider) -> None:
        self.inner = inner
        self.name = inner.name
        self.capabilities = inner.capabilities
        self.publishes_within = inner.publishes_within
        self.archives = inner.archives

    def __getattr__(self, name: str) -> Any:
        """Return what only the inner provider has."""
        if name in ("inner", "within"):  # not made yet, or being copied; see above
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def parts(self) -> tuple[FlagProvider, ...]:
        """What this is wrapped around: one provider, or more."""
        return (self.inner,)

    def start(self, listener: Listener) -> None:
        """Start the inner provider."""
        self.inner.start(listener)

    def wait_ready(self, timeout: float) -> bool:
        """Wait for the inner provider's first payload."""
        return self.inner.wait_ready(timeout)

    def status(self) -> ProviderStatus:
        """Return how the inner provider stands."""
        return self.inner.status()

    def close(self, timeout: float = 2.0) -> None:
        """Stop the inner provider."""
        self.inner.close(timeout)

    def after_fork(self) -> None:
        """Let the inner provider follow again in a forked child."""
        self.inner.after_fork()

    def resolve(self, key: str, context: Context, kind: FlagKind | None) -> Result:
        """Ask the inner provider."""
        return self.inner.resolve(key, context, kind)

    def get(self, key: str) -> Flag | None:
        """Return the flag as the inner provider keeps it."""
        return self.inner.get(key)

    def list(self) -> FlagSet:
        """Return what the inner provider keeps."""
        return self.inner.list()

    def put(self, flag: Flag, change: Change, *, expected: str | None = None) -> Flag:
        """Write a whole flag."""
        return self.inner.put(flag, change, expected=expected)

    def delete(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a flag."""
        self.inner.delete(key, change, expected=expected)

    def switch_on(self, key: str, change: Change) -> Flag:
        """Turn a flag on."""
        return self.inner.switch_on(key, change)

    def switch_off(self, key: str, change: Change) -> Flag:
        """Turn a flag off."""
        return self.inner.switch_off(key, change)

    def set_rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        """Set a variant's part of the default split."""
        return self.inner.set_rollout(key, variant, weight, change)

    def check_rollout(
        self, key: str, variant: str, weights: Iterable[int], targets: Iterable[str]
    ) -> None:
        """Ask the inner provider what it would refuse."""
        self.inner.check_rollout(key, variant, weights, targets)

    def set_targets(self, key: str, variant: str, keys: Iterable[str], change: Change) -> Flag:
        """Set the targets of a variant."""
        return self.inner.set_targets(key, variant, keys, change)

    def put_segment(
        self, segment: Segment, change: Change, *, expected: str | None = None
    ) -> Segment:
        """Write a whole segment."""
        return self.inner.put_segment(segment, change, expected=expected)

    def delete_segment(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a segment."""
        self.inner.delete_segment(key, change, expected=expected)

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Return the inner provider's snapshot."""
        return self.inner.snapshot(key)

    def restore(
        self, snapshot: ProviderSnapshot, change: Change, *, expected: str | None = None
    ) -> Flag:
        """Bring a snapshot back."""
        return self.inner.restore(snapshot, change, expected=expected)

    def history(
        self, key: str | None = None, *, limit: int = 100, before: int | None = None
    ) -> ChangeRecords:
        """Return the inner provider's history."""
        return self.inner.history(key, limit=limit, before=before)

    def export(self) -> Translation:
        """Return the inner provider's flags as they decide there."""
        return self.inner.export()

    def fit(self, flag_set: FlagSet) -> Translation:
        """Return flags as the inner provider would keep them."""
        return self.inner.fit(flag_set)

    def __str__(self) -> str:
        return f"{self.label} -> {stack_of(self.inner)}"


def stack_of(provider: FlagProvider) -> str:
    """Return a provider as it is stacked: ``read_only -> failover(postgresql, sqlite)``."""
    return str(provider) if isinstance(provider, Wrapper) else provider.name


class Shared(Protocol):
    """A provider whose writes can join a transaction of its database."""

    def within(self, connection: Any) -> FlagProvider:
        """Return the provider as one transaction sees it, for managing only."""


def shared(provider: FlagProvider) -> Shared | None:
    """Return the provider if its writes can join a transaction, else None.

    The backend has to have ``within``, and so has every wrapper around it.
    """
    backend = provider
    while hasattr(backend, "within"):
        if not isinstance(backend, Wrapper):
            return cast("Shared", provider)
        backend = backend.inner
    return None


def innermost(provider: FlagProvider) -> FlagProvider:
    """Return the backend itself, without what is wrapped around it."""
    while isinstance(provider, Wrapper):
        provider = provider.inner
    return provider
