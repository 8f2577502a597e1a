"""Flags on an Acme server: followed by a thread that asks, managed by requests of their own."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import requests

from acme_flags.client import NAME, Acme, StoreMoved, TokenRefused
from acme_flags.plugin import CAPABILITIES
from downhaul.backends.edits import with_on, with_rollout, with_targets
from downhaul.config import Secret, Settings
from downhaul.documents import check_flag, check_segment
from downhaul.encoding import flag_from_data, flag_to_data, segment_from_data, segment_to_data
from downhaul.errors import ConfigError, DocumentError, FlagNotFound, Refused
from downhaul.flag import Flag, FlagSet, FlagSetDelta, Segment
from downhaul.provider import (
    Change,
    FlagProvider,
    Listener,
    ProviderSnapshot,
    ProviderStatus,
    State,
    utc_now,
)
from downhaul.references import segment_users

_TRIES: Final = 20  # at a write, while somebody else goes on changing what it was made from

Kept = TypeVar("Kept")
Named = TypeVar("Named", Flag, Segment)

_log = logging.getLogger("acme_flags")


class AcmeProvider(FlagProvider):
    """The flags of one server. ``poll`` is in seconds."""

    name = NAME
    capabilities = CAPABILITIES

    def __init__(self, url: str, token: Secret, poll: float) -> None:
        self._acme = Acme(url, token)
        self._poll = poll
        self._listener: Listener | None = None
        self._status = ProviderStatus(State.NOT_READY, "not started")
        self._confirmed = 0.0  # when the server last said what is served, monotonic
        self._known: FlagSet | None = None
        self._renew()

    def _renew(self) -> None:
        """Make what belongs to one process: a forked child needs its own."""
        self._ready, self._stop = threading.Event(), threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        if self._known is not None:
            self._ready.set()

    # Evaluating

    def start(self, listener: Listener) -> None:
        """Begin to follow the server, in a thread."""
        self._listener = listener
        self._status = ProviderStatus(State.NOT_READY, "the server was not heard yet")
        self._follow()

    def wait_ready(self, timeout: float) -> bool:
        """Wait until the server told its flags once."""
        return self._ready.wait(timeout)

    def status(self) -> ProviderStatus:
        """Return how the server was last heard, and how long ago."""
        status = self._status
        if self._known is None or status.state is State.NOT_READY:
            return status
        return ProviderStatus(status.state, status.message, time.monotonic() - self._confirmed)

    def close(self, timeout: float = 2.0) -> None:
        """Stop following. A request that is under way is left to its own deadline."""
        self._stop.set()
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        self._listener = None
        self._status = ProviderStatus(State.NOT_READY, "closed")

    def after_fork(self) -> None:
        """Follow the server again: the parent's thread and connections are not the child's."""
        follows = self._thread is not None
        self._renew()
        if follows:
            self._follow()

    def _follow(self) -> None:
        self._thread = threading.Thread(
            target=self._run, args=(self._stop, self._wake), name="acme-flags", daemon=True
        )
        self._thread.start()

    def _run(self, stop: threading.Event, wake: threading.Event) -> None:
        with requests.Session() as session:
            while not stop.is_set():
                self._look(session, stop)
                wake.wait(self._poll)
                wake.clear()

    def _look(self, session: requests.Session, stop: threading.Event) -> None:
        asked = time.monotonic()
        try:
            tag = None if self._known is None else self._known.revision
            found = self._acme.store(session, unless=tag)
            if stop.is_set():
                return
            if found is not None:
                self._publish(_flag_set(found))
            self._confirmed = asked
            self._stand(State.READY, "")
            self._ready.set()
        except TokenRefused as error:
            self._stand(State.ERROR, str(error))
        except Exception as error:  # noqa: BLE001  (whatever it is, the next look may be well)
            _log.debug("a look at the server failed", exc_info=True)
            self._stand(State.NOT_READY if self._known is None else State.STALE, str(error))

    def _publish(self, flag_set: FlagSet) -> None:
        """Tell the first set whole, and then only what is another than before."""
        known = self._known
        if known is None:
            self._tell(lambda listener: listener.replaced(flag_set))
        else:
            delta = FlagSetDelta(
                flags=_changed(known.flags, flag_set.flags),
                segments=_changed(known.segments, flag_set.segments),
                revision=flag_set.revision,
            )
            self._tell(lambda listener: listener.changed(delta))
        self._known = flag_set  # last: a child forked before this tells it again

    def _stand(self, state: State, message: str) -> None:
        """Take up a status, and tell it if it is news."""
        if (state, message) != (self._status.state, self._status.message):
            self._status = ProviderStatus(state, message)
            self._tell(lambda listener: listener.status_changed(self.status()))

    def _tell(self, call: Callable[[Listener], None]) -> None:
        listener = self._listener
        if listener is not None:
            call(listener)

    # Managing

    def get(self, key: str) -> Flag | None:
        """Return the flag as the server has it now."""
        return self.list().flags.get(key)

    def list(self) -> FlagSet:
        """Return all flags and segments as the server has them now."""
        with requests.Session() as session:
            found = self._acme.store(session)
        assert found is not None  # noqa: S101  (only a tag can be answered with nothing)
        return _flag_set(found)

    def put(self, flag: Flag, change: Change, *, expected: str | None = None) -> Flag:
        """Write a whole flag. Raises DocumentError with every problem, or VersionConflict."""

        def write(there: FlagSet) -> Flag:
            if problems := check_flag(flag, there):
                raise DocumentError(f'flag "{flag.key}" is refused', problems)
            return self._write(flag, expected, there.revision)

        return self._on_what_is_there(write)

    def delete(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a flag. Raises FlagNotFound, VersionConflict."""
        self._acme.delete("flags", key, expected)
        self._wake.set()

    def switch_on(self, key: str, change: Change) -> Flag:
        """Turn the flag on. Raises FlagNotFound."""
        return self._edit(key, partial(with_on, on=True))

    def switch_off(self, key: str, change: Change) -> Flag:
        """Turn the flag off. Raises FlagNotFound."""
        return self._edit(key, partial(with_on, on=False))

    def set_rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        """Give the variant its part of the default. Raises FlagNotFound, Refused."""
        return self._edit(key, partial(with_rollout, variant=variant, weight=weight))

    def set_targets(self, key: str, variant: str, keys: Iterable[str], change: Change) -> Flag:
        """Set a variant's targets of kind ``user``. Raises FlagNotFound, Refused."""
        return self._edit(key, partial(with_targets, variant=variant, keys=keys))

    def put_segment(
        self, segment: Segment, change: Change, *, expected: str | None = None
    ) -> Segment:
        """Write a whole segment. Raises DocumentError, VersionConflict."""

        def write(there: FlagSet) -> Segment:
            if problems := check_segment(segment, there):
                raise DocumentError(f'segment "{segment.key}" is refused', problems)
            data = segment_to_data(segment)
            kept = self._acme.put("segments", segment.key, data, expected, there.revision)
            return segment_from_data(kept)

        return self._on_what_is_there(write)

    def delete_segment(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a segment. Raises Refused while it is named, FlagNotFound, VersionConflict."""

        def write(there: FlagSet) -> None:
            if users := segment_users(there, key):
                raise Refused(
                    f'segment "{key}" is named by {", ".join(users)}',
                    provider=self.name,
                    hint="take it out of their clauses first",
                )
            self._acme.delete("segments", key, expected, there.revision)

        self._on_what_is_there(write)

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Return the flag's document as it is now. Raises FlagNotFound."""
        flag = self._flag_of(key, self.list())
        return ProviderSnapshot(key, self.name, flag.version, flag_to_data(flag), utc_now())

    def restore(
        self, snapshot: ProviderSnapshot, change: Change, *, expected: str | None = None
    ) -> Flag:
        """Bring a snapshot back as a new version. Raises VersionConflict, Refused."""
        if snapshot.provider != self.name:
            raise Refused(
                f'a snapshot of provider "{snapshot.provider}" is no document of this one',
                flag=snapshot.flag,
                provider=self.name,
                hint="restore it where it was taken",
            )
        kept = self._write(flag_from_data(copy.deepcopy(dict(snapshot.document))), expected)
        self._wake.set()
        return kept

    def _edit(self, key: str, edit: Callable[[Flag], Flag]) -> Flag:
        """Change one field of a flag."""

        def write(there: FlagSet) -> Flag:
            before = self._flag_of(key, there)
            after = edit(before)
            return before if after == before else self._write(after, None, there.revision)

        return self._on_what_is_there(write)

    def _on_what_is_there(self, write: Callable[[FlagSet], Kept]) -> Kept:
        """Write what was made from the store as it is; begin again where that moved meanwhile."""
        for _ in range(_TRIES - 1):
            try:
                return write(self.list())
            except StoreMoved:
                continue
            finally:
                self._wake.set()  # what we wrote is not to wait for the next look
        return write(self.list())

    def _write(self, flag: Flag, expected: str | None, seen: str | None = None) -> Flag:
        return flag_from_data(self._acme.put("flags", flag.key, flag_to_data(flag), expected, seen))

    def _flag_of(self, key: str, there: FlagSet) -> Flag:
        if key not in there.flags:
            raise FlagNotFound(f'there is no flag "{key}"', flag=key, provider=self.name)
        return there.flags[key]


def create(settings: Settings) -> AcmeProvider:
    """Return the provider for an ``acme+http://`` URL. Contacts nobody. Raises ConfigError."""
    transport = settings.provider.scheme.partition("+")[2]
    if transport not in ("http", "https"):
        raise ConfigError(
            f'"{settings.provider.safe_url}" does not say how the server is reached',
            hint="write acme+https://HOST",
            origin=settings.origins.get("provider.url"),
        )
    options = settings.provider.options
    url = settings.provider.url.partition("+")[2]
    return AcmeProvider(url, options["token"], options.get("poll", 1.0))


def _flag_set(found: tuple[str, Mapping[str, Any]]) -> FlagSet:
    tag, content = found
    return FlagSet(
        {key: flag_from_data(one) for key, one in content["flags"].items()},
        {key: segment_from_data(one) for key, one in content["segments"].items()},
        tag,
    )


def _changed(before: Mapping[str, Named], after: Mapping[str, Named]) -> dict[str, Named | None]:
    """Return what is new or another than before, and None for what is gone."""
    gone: dict[str, Named | None] = {key: None for key in before if key not in after}
    return gone | {key: one for key, one in after.items() if before.get(key) != one}
