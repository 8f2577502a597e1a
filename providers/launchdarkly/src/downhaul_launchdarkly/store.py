"""The SDK's memory of flags, which tells of what comes in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ldclient.feature_store import InMemoryFeatureStore
from ldclient.versioned_data_kind import FEATURES, SEGMENTS, VersionedDataKind

Payload = Mapping[VersionedDataKind, Mapping[str, Any]]


class TellingStore(InMemoryFeatureStore):
    """Keeps flags as the SDK's own store does, and calls back after each change.

    ``raw`` are the flags as they came, without those that are gone, and never changed in place: a
    forked child begins with them. ``told`` gets the keys of flags that are others now, None for
    all. The SDK calls in from its own threads, one at a time.
    """

    def __init__(self, told: Callable[[frozenset[str] | None], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the SDK has no types there
        self._told = told
        self.raw: Mapping[str, Mapping[str, Any]] = {}
        self.segments: Mapping[str, Mapping[str, Any]] = {}

    def init(self, all_data: Payload) -> None:
        """Take a whole payload."""
        super().init(all_data)  # type: ignore[no-untyped-call]  # the SDK has no types there
        self.raw = {key: _data(item) for key, item in all_data.get(FEATURES, {}).items()}
        self.segments = {key: _data(item) for key, item in all_data.get(SEGMENTS, {}).items()}
        self._told(None)

    def upsert(self, kind: VersionedDataKind, item: Any) -> None:
        """Take one flag or segment, unless a later version is there."""
        super().upsert(kind, item)  # type: ignore[no-untyped-call]  # the SDK has no types there
        data = _data(item)
        held = (self.raw if kind is FEATURES else self.segments).get(data["key"])
        if held is None or held["version"] < data["version"]:
            self._put(kind, data["key"], data)

    def delete(self, kind: VersionedDataKind, key: str, version: int) -> None:
        """Remove one flag or segment, unless a later version is there."""
        super().delete(kind, key, version)
        held = (self.raw if kind is FEATURES else self.segments).get(key)
        if held is not None and held["version"] < version:
            self._put(kind, key, None)

    def copy_from(self, other: TellingStore) -> None:
        """Begin with what another store has, asking it nothing: its locks may be held for good."""
        payload = {FEATURES: dict(other.raw), SEGMENTS: dict(other.segments)}
        super().init(payload)  # type: ignore[no-untyped-call]  # the SDK has no types there
        self.raw, self.segments = other.raw, other.segments

    def _put(self, kind: VersionedDataKind, key: str, data: Mapping[str, Any] | None) -> None:
        held = self.raw if kind is FEATURES else self.segments
        kept = {one: each for one, each in held.items() if one != key}
        if data is not None and not data.get("deleted"):
            kept[key] = data
        if kind is FEATURES:
            self.raw = kept
            self._told(frozenset({key}))
        else:
            self.segments = kept
            self._told(frozenset())


def _data(item: Any) -> Mapping[str, Any]:
    """Return a flag as JSON data; the SDK passes it so, or as its own object around it."""
    data: Mapping[str, Any] = item if isinstance(item, Mapping) else item.to_json_dict()
    return data
