"""The verbs of a provider that manages flags through its vendor's REST API, where it has a token.

An application has none, and asks for nothing that is here.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Generic, Protocol, TypeVar

from downhaul.flag import Flag, FlagSet
from downhaul.provider import Capability, Change, ProviderSnapshot
from downhaul.vendors.life import Session, VendorProvider


class Admin(Protocol):
    """What a vendor's own side of the verbs is; each is read back before it returns."""

    def get(self, key: str) -> Flag | None:
        """Return the flag as it is now, or None."""

    def everything(self) -> FlagSet:
        """Return every flag, to the last page."""

    def switch(self, key: str, change: Change, *, on: bool) -> Flag:
        """Turn a flag on, or off with a safe off variant."""

    def rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        """Serve a variant to a share of users and the off variant to the rest."""

    def targets(self, key: str, variant: str, keys: Iterable[str], change: Change) -> Flag:
        """Make users the targets of one variant; they leave the others."""

    def put(self, flag: Flag, change: Change, expected: str | None) -> Flag:
        """Write a whole flag, or make it."""

    def delete(self, key: str, change: Change, expected: str | None) -> None:
        """Remove a flag, or archive it."""

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Return what can be brought back of a flag."""

    def restore(self, snapshot: ProviderSnapshot, change: Change, expected: str | None) -> Flag:
        """Bring a snapshot back."""


S = TypeVar("S", bound=Session)
A = TypeVar("A", bound=Admin)


class ManagingProvider(VendorProvider[S], Generic[S, A]):
    """Runs sessions, and manages flags through ``admin`` where there is one.

    ``managing`` are the capabilities that this adds to those of the class.
    """

    def __init__(self, admin: A | None, managing: AbstractSet[Capability]) -> None:
        super().__init__()
        self._admin = admin
        if admin is not None:
            self.capabilities = self.capabilities | managing

    def _managed(self, needed: Capability) -> A:
        """Return the admin side. Raises UnsupportedCapability where there is none."""
        if self._admin is None:
            raise self._unsupported(needed)
        return self._admin

    def get(self, key: str) -> Flag | None:
        """Return the flag as the vendor keeps it now, or None."""
        return self._managed(Capability.READ).get(key)

    def list(self) -> FlagSet:
        """Return the flags as the vendor keeps them now."""
        return self._managed(Capability.READ).everything()

    def put(self, flag: Flag, change: Change, *, expected: str | None = None) -> Flag:
        """Write a flag whole, or make it."""
        return self._managed(Capability.WRITE).put(flag, change, expected)

    def delete(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a flag, or archive it, as the vendor does."""
        self._managed(Capability.WRITE).delete(key, change, expected)

    def switch_on(self, key: str, change: Change) -> Flag:
        """Turn the flag on at the vendor."""
        return self._managed(Capability.WRITE).switch(key, change, on=True)

    def switch_off(self, key: str, change: Change) -> Flag:
        """Turn the flag off at the vendor, with a safe off variant."""
        return self._managed(Capability.WRITE).switch(key, change, on=False)

    def set_rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        """Serve ``variant`` to a share of users and the off variant to the rest."""
        return self._managed(Capability.WRITE).rollout(key, variant, weight, change)

    def set_targets(self, key: str, variant: str, keys: Iterable[str], change: Change) -> Flag:
        """Make ``keys`` the targets of one variant; they leave the others."""
        return self._managed(Capability.WRITE).targets(key, variant, keys, change)

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Return what can be brought back of a flag."""
        return self._managed(Capability.SNAPSHOT).snapshot(key)

    def restore(
        self, snapshot: ProviderSnapshot, change: Change, *, expected: str | None = None
    ) -> Flag:
        """Bring a snapshot back."""
        return self._managed(Capability.SNAPSHOT).restore(snapshot, change, expected)
