"""One factory of Split's SDK, and what is heard from it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from splitio import get_factory
from splitio.client import factory as sdk
from splitio.client.client import Client
from splitio.events.events_metadata import SdkEventType
from splitio.models.events import SdkEvent
from splitio.util.backoff import Backoff

from downhaul.config import Secret
from downhaul.flag import FlagSet, FlagSetDelta
from downhaul.provider import Listener, ProviderStatus, State
from downhaul_split.carrying import Asked, Carry, carries_of, segment_asked
from downhaul_split.heard import Heard, Trouble, reason_of, watch_file
from downhaul_split.known import Known, known_of
from downhaul_split.recording import Recorder, recorder_of
from downhaul_split.settings import DEADLINE, REFRESH
from downhaul_split.threads import (
    begin_end,
    bound,
    end,
    listens,
    preparing,
    send_the_rest,
    silence,
)

_log: Final = logging.getLogger("downhaul.split")
_FIRST_PAUSE, _LONGEST_PAUSE = 1, 10  # seconds until a service that is away is asked again
_READ_EVERY: Final = 1  # seconds between two readings of a file
_RENEWED: Final = ("splits", "segments", "rule_based_segments")


@dataclass(frozen=True, slots=True)
class Connection:
    """Where Split is, and what is sent there. None is where it usually is.

    ``file`` is a path to definitions in the SDK's format for localhost; there is no service then.
    ``refresh`` and ``deadline`` (of each request of an export) are in seconds.
    """

    sdk_key: Secret | None = None
    sdk_url: str | None = None
    events_url: str | None = None
    auth_url: str | None = None
    streaming_url: str | None = None
    telemetry_url: str | None = None
    refresh: float = REFRESH
    streaming: bool = True
    events: bool = False
    file: str | None = None
    deadline: float = DEADLINE


class Session:
    """Runs one factory, and tells ``listener`` what it hears.

    ``before`` is the session of a parent process: its flags serve until others come.
    """

    def __init__(
        self, connection: Connection, listener: Listener, before: Session | None = None
    ) -> None:
        self._connection = connection
        self._listener = listener
        self._heard = threading.Event()
        self._lock = threading.Lock()
        self._telling = threading.RLock()
        self._closed = False
        self._failed = ""
        self._trouble: Trouble | None = None
        self._answered = self._reads_once
        self._waiting: Client | None = None
        self._silent_since = time.monotonic() if before is None else before.silent_since
        self._factory: Any = None
        self.own = False
        """Whether its own factory has had a payload, and answers."""
        self.client: Client | None = None
        self.known: Mapping[str, Known] = {}
        self.carries: Mapping[str, Carry] = {}
        """How each flag that asks for any is sent buckets."""
        self._segments: dict[str, Asked] = {}
        self._segments_at: int | None = None
        if before is not None:
            self._inherit(before)

    @property
    def serves(self) -> bool:
        """Whether there are flags to answer from."""
        return self.client is not None and not self._closed

    @property
    def silent_since(self) -> float:
        """The moment of what is known, by the monotonic clock: now, while a stream is open."""
        if not self.own or self._trouble is not None:
            return self._silent_since
        heard_by_itself = self._reads_once or listens(self._factory._sync_manager)  # noqa: SLF001  (no other way)
        return time.monotonic() if heard_by_itself else self._silent_since

    @property
    def _reads_once(self) -> bool:
        """Whether flags come from a file of the sort that the SDK reads at its start only."""
        return not (self._connection.file or ".json").lower().endswith(".json")

    def _inherit(self, before: Session) -> None:
        """Go on with what a parent process had; whoever held a lock of it doesn't live here.

        Its client may be of another factory than its own: of that of its own parent.
        """
        sdk._INSTANTIATED_FACTORIES_LOCK = threading.RLock()  # noqa: SLF001  (no other way in)
        client = before.client
        if client is None:
            return
        for name in _RENEWED:
            client._factory._get_storage(name)._lock = threading.RLock()  # noqa: SLF001  (the same)
        recorder_of(client).passes_nothing_on()  # nothing here sends what it records
        self.client, self.known, self.carries = client, before.known, before.carries

    def start(self) -> None:
        """Make the factory, in a thread: whatever it does at once, nobody waits for it."""
        threading.Thread(target=self._run, name="downhaul-split", daemon=True).start()

    def wait(self, timeout: float) -> bool:
        """Wait for Split's first payload; return whether it came."""
        return self._heard.wait(timeout) and not self._closed

    def status(self) -> ProviderStatus:
        """Return how it stands now."""
        if self._closed:
            return ProviderStatus(State.NOT_READY, "closed")
        if self._failed:
            return ProviderStatus(State.FATAL, self._failed)
        trouble = self._trouble
        why = "Split was not heard yet" if trouble is None else trouble.message
        if self.own and trouble is None:
            return ProviderStatus(State.READY, age=max(0.0, time.monotonic() - self.silent_since))
        if self.serves:
            age = time.monotonic() - self._silent_since
            return ProviderStatus(State.STALE, why, age)
        lasting = trouble is not None and trouble.lasting
        return ProviderStatus(State.ERROR if lasting else State.NOT_READY, why)

    def close(self, timeout: float) -> None:
        """Close the factory. May take as long as the SDK likes."""
        with self._lock:
            ended_before, self._closed = self._closed, True
            self.client, factory = None, self._factory
        if factory is not None and not ended_before:
            self._end(factory, timeout)

    def _end(self, factory: Any, timeout: float) -> None:
        begin_end(factory._sync_manager)  # noqa: SLF001  (there is no other way)
        ended, until = threading.Event(), time.monotonic() + timeout
        factory.destroy(ended)
        in_time = ended.wait(timeout)
        end(factory._sync_manager)  # noqa: SLF001
        if in_time and self._connection.events and self._connection.file is None:
            send_the_rest(factory._sync_manager, max(0.0, until - time.monotonic()))  # noqa: SLF001

    # In the thread, and in those of the SDK

    def _run(self) -> None:
        try:
            factory = self._made()
        except Exception as error:  # noqa: BLE001  (what it raises is its own affair: it is told)
            _log.exception("Split's SDK does not start")
            self._failed = f"the SDK does not start: {reason_of(error)}"
            self._listener.status_changed(self.status())
            return
        with self._lock:
            closed, self._factory = self._closed, factory
        if closed:
            self._end(factory, 0.0)
            return
        client = factory.client()
        client.on(SdkEvent.SDK_UPDATE, self._updated)
        client.on(SdkEvent.SDK_READY, lambda _metadata: self._ready(client))

    def _made(self) -> Any:
        one = self._connection
        if one.file is not None:
            if not Path(one.file).is_file():
                message = f"there is no file {one.file}"
                raise FileNotFoundError(message)
            with preparing(self._prepare):
                factory = get_factory("localhost", config=self._file_config(one.file))
            return self._recorded(factory)
        key = "" if one.sdk_key is None else one.sdk_key.reveal()
        config = {
            "streamingEnabled": one.streaming,
            "featuresRefreshRate": one.refresh,
            "segmentsRefreshRate": one.refresh,
            "impressionsMode": "OPTIMIZED" if one.events else "NONE",
            "IPAddressesEnabled": False,
        }
        places = {
            "sdk_api_base_url": one.sdk_url,
            "events_api_base_url": one.events_url,
            "auth_api_base_url": one.auth_url,
            "streaming_api_base_url": one.streaming_url,
            "telemetry_api_base_url": one.telemetry_url,
        }
        given = {name: url for name, url in places.items() if url is not None}
        with preparing(self._prepare):
            factory = get_factory(key, config=config, **given)
        if factory is None:
            message = "the SDK takes no such key"
            raise ValueError(message)
        return self._recorded(factory)

    def _file_config(self, path: str) -> dict[str, Any]:
        return {
            "splitFile": path,
            "segmentDirectory": str(Path(path).parent),
            "localhostRefreshEnabled": True,
            "featuresRefreshRate": _READ_EVERY,
            "segmentsRefreshRate": _READ_EVERY,
            "impressionsMode": "DEBUG",  # the only one for files; nothing is sent anywhere
        }

    def _prepare(self, manager: Any) -> None:
        """Put our ears into the SDK, before it does anything: it has no hook for them."""
        synchronizer = manager._synchronizer  # noqa: SLF001  (see above)
        splits = synchronizer._split_synchronizers.split_sync  # noqa: SLF001
        closed = lambda: self._closed  # noqa: E731  (what others ask, again and again)
        bound(manager, closed)
        path = self._connection.file
        if path is not None:
            synchronizer._backoff = Backoff(_READ_EVERY, _READ_EVERY)  # noqa: SLF001
            if not self._reads_once:
                watch_file(path, splits, self._asked, closed)
            return
        synchronizer._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)  # noqa: SLF001
        splits._api = Heard(splits._api, self._asked, closed)  # noqa: SLF001
        if not self._connection.events:
            silence(manager)

    def _recorded(self, factory: Any) -> Any:
        """Return the factory with our recorder, which is asked first when there are flags."""
        events = self._connection.events and self._connection.file is None
        factory._recorder = Recorder(factory._recorder if events else None)  # noqa: SLF001  (see above)
        factory._labels_enabled = True  # noqa: SLF001  (off by default for files)
        return factory

    def _asked(self, trouble: Trouble | None, asked_at: float) -> None:
        """Take up how a request for definitions, or the reading of a file, ended."""
        if trouble is None:
            self._silent_since = asked_at
        elif self._trouble is None and self.own:
            self._silent_since = self.silent_since
        before, self._trouble = self._trouble, trouble
        with self._telling:
            self._answered = self._answered or trouble is None
            waiting = self._waiting if trouble is None else None
        if waiting is not None:
            self._ready(waiting)
        elif trouble != before and not self._closed:
            self._listener.status_changed(self.status())

    def _ready(self, client: Client) -> None:
        """Take up the first payload. The SDK is ready without any where a file can't be read."""
        with self._telling:
            if self._closed:
                return
            if not self._answered:
                self._waiting = client
                return
            self._waiting = None
            self.client, self.own = client, True
            self._take_up(None)
        self._heard.set()
        self._listener.status_changed(self.status())

    def _updated(self, metadata: Any) -> None:
        """Take up what changed. The SDK calls from a new thread each time, in any order."""
        with self._telling:
            if self._closed or not self.own:
                return
            if metadata.get_type() is SdkEventType.FLAG_UPDATE:
                self._take_up(metadata.get_names())
            elif self._segments_changed():
                self._collect()

    def _take_up(self, names: set[str] | None) -> None:
        storage = self._factory._get_storage("splits")  # noqa: SLF001  (its manager tells less)
        revision = f"{storage.get_splits_count()}:{storage.get_change_number()}"
        if names is None:
            self.known = {one.name: known_of(one) for one in storage.get_all_splits()}
            self._collect()
            flags = {key: one.flag for key, one in self.known.items()}
            self._listener.replaced(FlagSet(flags, {}, revision))
            return
        splits = {name: storage.get(name) for name in names}
        changed = {name: None if one is None else known_of(one) for name, one in splits.items()}
        self.known = {
            **{key: one for key, one in self.known.items() if key not in changed},
            **{key: one for key, one in changed.items() if one is not None},
        }
        self._collect()
        told = {key: None if one is None else one.flag for key, one in changed.items()}
        self._listener.changed(FlagSetDelta(told, {}, revision))

    def _segments_changed(self) -> bool:
        """Take up the rule-based segments, where they are others than those that are known."""
        storage = self._factory._get_storage("rule_based_segments")  # noqa: SLF001  (as above)
        at = storage.get_change_number()
        if at == self._segments_at:
            return False
        found = [storage.get(name) for name in storage.get_segment_names()]
        self._segments = {one.name: segment_asked(one) for one in found if one is not None}
        self._segments_at = at
        return True

    def _collect(self) -> None:
        """Collect which buckets each flag asks for."""
        self._segments_changed()
        asked = {key: one.asked for key, one in self.known.items()}
        self.carries = carries_of(asked, self._segments)
