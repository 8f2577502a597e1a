"""One client of LaunchDarkly's SDK, and what is heard from it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ldclient import LDClient
from ldclient.config import Config
from ldclient.evaluation import EvaluationDetail
from ldclient.integrations import Files
from ldclient.interfaces import DataSourceErrorInfo, DataSourceState, DataSourceStatus

from downhaul import __version__
from downhaul.config import Secret
from downhaul.flag import FlagSet, FlagSetDelta
from downhaul.provider import Listener, ProviderStatus, State
from downhaul_launchdarkly.carrying import Asked, Bearer, Here, asked_by, asked_by_all, bearers
from downhaul_launchdarkly.known import Known, known_of
from downhaul_launchdarkly.settings import DEADLINE
from downhaul_launchdarkly.store import TellingStore

Serving = tuple[
    Callable[[str, Any, Any], EvaluationDetail], Mapping[str, Known], Mapping[str, Bearer], Here
]
"""What an evaluation needs, to be read in one step: how the SDK is asked, what is known, which
flags ask for more than a context has, and who decides where the SDK can't."""

_log: Final = logging.getLogger("downhaul")
_WAITED: Final = "Initialization timeout exceeded"
_REFUSED: Final = frozenset({401, 403})
_RECONNECT: Final = 1.0  # seconds until the SDK comes again after a stream broke off, at first


def _no_false_alarm(record: logging.LogRecord) -> bool:
    """Keep back what the SDK says of a start that waits for nothing, which ours is on purpose."""
    return not str(record.msg).startswith(_WAITED)


logging.getLogger("ldclient.util").addFilter(_no_false_alarm)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where LaunchDarkly is, and what is sent there. None is where it usually is.

    ``file`` is a path to flags in the SDK's file format; there is no service then. ``deadline`` is
    for reading all flags at once, in seconds.
    """

    sdk_key: Secret | None = None
    stream_url: str | None = None
    poll_url: str | None = None
    events_url: str | None = None
    events: bool = False
    private: bool = True
    file: str | None = None
    deadline: float = DEADLINE


class Session:
    """Runs one client, and tells ``listener`` what it hears.

    ``before`` is the session of a parent process: its flags serve until others come.
    """

    def __init__(
        self, connection: Connection, listener: Listener, before: Session | None = None
    ) -> None:
        self._connection = connection
        self._listener = listener
        self._heard = threading.Event()
        self._lock = threading.Lock()
        self._telling = (
            threading.RLock()
        )  # the first payload may come while we take it up ourselves
        self._closed = False
        self._source: DataSourceStatus | None = None
        self._silent_since = time.monotonic() if before is None else before.silent_since
        self._failed = ""
        self._store = TellingStore(self._told)
        self.client: LDClient | None = None
        self.known: Mapping[str, Known] = {}
        self._asked: Mapping[str, Asked] = {}
        self.serves = False
        self.serving: Serving | None = None
        if before is not None and before.serves:
            self._store.copy_from(before._store)  # noqa: SLF001  (a session of the parent process)
            self.known, self.serves = before.known, True
            self._asked = before._asked  # noqa: SLF001

    @property
    def silent_since(self) -> float:
        """When LaunchDarkly was last heard, by the monotonic clock."""
        source = self._source
        if source is not None and source.state is DataSourceState.VALID:
            return time.monotonic()
        return self._silent_since

    def start(self) -> None:
        """Make the client, in a thread: whatever its constructor does, nobody waits for it."""
        if self.serves:  # in a forked child, which is to serve from its first moment on
            self._run()
        else:
            threading.Thread(target=self._run, name="downhaul-launchdarkly", daemon=True).start()

    def wait(self, timeout: float) -> bool:
        """Wait for LaunchDarkly's first payload; return whether it came."""
        return self._heard.wait(timeout) and not self._closed

    def status(self) -> ProviderStatus:
        """Return how it stands now."""
        if self._closed:
            return ProviderStatus(State.NOT_READY, "closed")
        if self._failed:
            return ProviderStatus(State.FATAL, self._failed)
        source = self._source
        if source is None or source.state is DataSourceState.INITIALIZING:
            return self._without(source)
        if source.state is DataSourceState.VALID:
            return ProviderStatus(State.READY, age=0.0)
        if source.state is DataSourceState.OFF and not self.serves:
            return ProviderStatus(State.FATAL, _why(source.error) or "the SDK gave up")
        return self._without(source)

    def close(self, timeout: float = 0.0) -> None:
        """Close the client. May take as long as the SDK likes."""
        with self._lock:
            self._closed, self.serves, self.serving = True, False, None
            client, self.client = self.client, None
        if client is not None:
            client.close()  # type: ignore[no-untyped-call]  # the SDK has no types there

    def _without(self, source: DataSourceStatus | None) -> ProviderStatus:
        """Return the status without contact: stale where there are flags, else not ready."""
        why = _why(None if source is None else source.error)
        if self.serves:
            age = time.monotonic() - self._silent_since
            return ProviderStatus(State.STALE, why or "LaunchDarkly is not heard", age)
        refused = source is not None and source.error is not None
        refused = refused and source.error.status_code in _REFUSED  # type: ignore[union-attr]
        state = State.ERROR if refused else State.NOT_READY
        return ProviderStatus(state, why or "LaunchDarkly was not heard yet")

    # In the thread, and in those of the SDK

    def _run(self) -> None:
        try:
            client = LDClient(self._config(), start_wait=0)
        except Exception as error:  # noqa: BLE001  (what it raises is its own affair: it is told)
            _log.exception("LaunchDarkly's SDK does not start")
            self._failed = f"the SDK does not start: {error}"
            self._listener.status_changed(self.status())
            return
        client.data_source_status_provider.add_listener(self._moved)
        with self._lock:
            closed = self._closed
            if not closed:
                self.client = client
        if closed:
            client.close()  # type: ignore[no-untyped-call]  # the SDK has no types there
            return
        self._moved(client.data_source_status_provider.status)
        if self._store.raw or self._store.initialized:
            self._told(None)

    def _config(self) -> Config:
        one = self._connection
        given: dict[str, Any] = {
            "feature_store": self._store,
            "initial_reconnect_delay": _RECONNECT,
            "send_events": one.events,
            "diagnostic_opt_out": True,
            "all_attributes_private": one.private,
            "wrapper_name": "downhaul",
            "wrapper_version": __version__,
        }
        if one.file is not None:
            source = Files.new_data_source(paths=[one.file], auto_update=True, force_polling=True)
            return Config("file", **{**given, "send_events": False}, update_processor_class=source)
        places = {
            "stream_uri": one.stream_url,
            "base_uri": one.poll_url,
            "events_uri": one.events_url,
        }
        given |= {name: url for name, url in places.items() if url is not None}
        if one.events:
            from downhaul_launchdarkly.events import Events  # noqa: PLC0415  (few send any)

            given["event_processor_class"] = Events
        return Config("" if one.sdk_key is None else one.sdk_key.reveal(), **given)

    def _told(self, keys: frozenset[str] | None) -> None:
        """Take up what the store has now, and tell of it."""
        with self._telling:
            if self._closed or self.client is None:
                return  # what comes before the client is at hand is told right after it
            self._take_up(keys)
        if self._source is not None and self._source.state is DataSourceState.VALID:
            self._heard.set()

    def _take_up(self, keys: frozenset[str] | None) -> None:
        """Learn what changed, serve it, and then tell of it: who is told may ask at once."""
        raw = self._store.raw
        if keys is None:
            self._asked = asked_by_all(raw.values())
            self._serve({key: known_of(one) for key, one in raw.items()})
            flags = {key: one.flag for key, one in self.known.items()}
            self._listener.replaced(FlagSet(flags, {}, _revision(raw)))
        elif not keys:
            self._serve(self.known)
        else:
            changed = {key: known_of(raw[key]) if key in raw else None for key in keys}
            kept_asked = {key: one for key, one in self._asked.items() if key not in changed}
            self._asked = kept_asked | {key: asked_by(raw[key]) for key in keys if key in raw}
            kept = {key: one for key, one in self.known.items() if key not in changed}
            self._serve(kept | {key: one for key, one in changed.items() if one is not None})
            told = {key: None if one is None else one.flag for key, one in changed.items()}
            self._listener.changed(FlagSetDelta(told, {}, _revision(raw)))

    def _serve(self, known: Mapping[str, Known]) -> None:
        segments = self._store.segments
        borne = bearers(self._asked, asked_by_all(segments.values()))
        here = Here(self._store.raw, segments)
        with self._lock:
            self.known, self.serves = known, not self._closed
            if self.client is not None:
                self.serving = self.client.variation_detail, known, borne, here

    def _moved(self, status: DataSourceStatus) -> None:
        before, self._source = self._source, status
        if status.state is DataSourceState.VALID:
            if self.serves:
                self._heard.set()
        elif before is not None and before.state is DataSourceState.VALID:
            self._silent_since = time.monotonic()
        if not self._closed:
            self._listener.status_changed(self.status())


def _revision(raw: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a text that is another one after each change: versions only rise."""
    return f"{len(raw)}:{sum(int(one.get('version', 0)) for one in raw.values())}"


def _why(error: DataSourceErrorInfo | None) -> str:
    if error is None:
        return ""
    if error.status_code in _REFUSED:
        return f"LaunchDarkly refuses the SDK key ({error.status_code})"
    if error.status_code:
        return f"LaunchDarkly answers {error.status_code}"
    return f"LaunchDarkly is not reached: {error.message}" if error.message else ""
