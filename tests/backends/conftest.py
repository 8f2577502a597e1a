"""A listener that remembers what it was told, for all backends."""

import threading

import pytest

from downhaul.flag import FlagSet


class Heard:
    """What a provider or a control store said, in order, and the flag set that follows from it."""

    def __init__(self):
        self.flag_set = None
        self.calls = []
        self.statuses = []
        self.records = []
        self.moved = threading.Condition()

    def replaced(self, flag_set):
        self._take(flag_set, "replaced")

    def changed(self, delta):
        flags = {**self.flag_set.flags, **delta.flags}
        segments = {**self.flag_set.segments, **delta.segments}
        self._take(
            FlagSet(
                {key: one for key, one in flags.items() if one is not None},
                {key: one for key, one in segments.items() if one is not None},
                delta.revision,
            ),
            "changed",
        )

    def _take(self, flag_set, call):
        with self.moved:
            self.flag_set = flag_set
            self.calls.append(call)
            self.moved.notify_all()

    def keys_changed(self, keys):
        raise AssertionError("these backends supply rules")

    def status_changed(self, status):
        with self.moved:
            self.statuses.append(status)
            self.moved.notify_all()

    def kills(self, records):
        with self.moved:
            self.records += records
            self.moved.notify_all()

    def wait_for(self, holds, timeout=10.0):
        with self.moved:
            assert self.moved.wait_for(lambda: holds(self), timeout), vars(self)


@pytest.fixture
def heard():
    return Heard()
