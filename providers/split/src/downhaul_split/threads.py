"""What the SDK's threads do wrong: some start that nothing stops, and one can get stuck.

Whoever closes a factory while it tries to reach Split, or is about to listen to it, would be
left with threads that poll, or listen, for ever. And the timer that renews the stream's token is no
daemon: a process that ends without closing would wait for it, for most of an hour.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from splitio.client import factory as sdk
from splitio.tasks.util import asynctask

from downhaul_split import quiet

_log: Final = logging.getLogger("downhaul.split")


class _Preparing(threading.local):
    """What is to be done to the next sync manager that this thread makes."""

    prepare: Callable[[Any], None] | None = None


_preparing: Final = _Preparing()


class _Manager(sdk.Manager):  # type: ignore[misc]  # the SDK has no types
    """The SDK's own, which is prepared where one of ours is made, and as ever for anybody else.

    A factory starts its manager's thread while it is made: whoever comes afterwards has missed how
    the first request ended, and cannot say how soon the second one comes.
    """

    def __init__(self, *asked: Any, **more: Any) -> None:
        super().__init__(*asked, **more)
        if _preparing.prepare is not None:
            _preparing.prepare(self)


sdk.Manager = _Manager


@contextmanager
def preparing(prepare: Callable[[Any], None]) -> Iterator[None]:
    """Let ``prepare`` have the sync manager of a factory that this thread makes, before it runs."""
    _preparing.prepare = prepare
    try:
        with quiet.making():
            yield
    finally:
        _preparing.prepare = None


def silence(manager: Any) -> None:
    """Let nothing be sent of how the SDK is set up and used, nor of anybody."""
    synchronizer = manager._synchronizer  # noqa: SLF001  (the SDK has no other way in)
    submitter = synchronizer._split_synchronizers.telemetry_sync._telemetry_submitter  # noqa: SLF001
    submitter.synchronize_config = submitter.synchronize_stats = nothing
    synchronizer.start_periodic_data_recording = nothing


def bound(manager: Any, closed: Callable[[], bool]) -> None:
    """Make the SDK's sync manager start nothing that outlives it. Called before it is heard."""
    push = getattr(manager, "_push", None)
    if push is None:
        return

    def renew_later(token: Any) -> None:
        push._next_refresh.cancel()  # noqa: SLF001  (the SDK has no other way in)
        if closed():
            push._sse_client.stop()  # noqa: SLF001
            return
        timer = threading.Timer(push._get_time_period(token), push._token_refresh)  # noqa: SLF001
        timer.daemon, timer.name = True, "TokenRefresh"
        push._next_refresh = timer  # noqa: SLF001
        timer.start()

    push._setup_next_token_refresh = renew_later  # noqa: SLF001
    stream = push._sse_client  # noqa: SLF001
    push.stop = _where(lambda: push._running, push.stop)  # noqa: SLF001
    stream.stop = _where(lambda: stream._status.name != "IDLE", stream.stop)  # noqa: SLF001
    client = stream._client  # noqa: SLF001
    client.shutdown = _where(lambda: _is_open(client), client.shutdown)
    _startable_again(client)
    _unstuck(push._processor._feature_flag_worker, manager._synchronizer)  # noqa: SLF001


def _where(runs: Callable[[], bool], stop: Callable[..., None]) -> Callable[..., None]:
    """Return a stop that does nothing where nothing runs: the SDK's own warns of that."""

    def stopped(*asked: Any, **more: Any) -> None:
        if runs():
            stop(*asked, **more)

    return stopped


def _is_open(client: Any) -> bool:
    """Return whether a client of the stream has a connection that it was not told to close."""
    connection = client._conn  # noqa: SLF001
    open_still = connection is not None and connection.sock is not None
    return open_still and not client._shutdown_requested  # noqa: SLF001


def _startable_again(client: Any) -> None:
    """Let the client of the stream be started again after it was refused.

    Left alone it keeps the connection that failed, and takes that for one which is open: one
    refusal, and the process polls until it ends.
    """
    start = client.start

    def started(*asked: Any, **more: Any) -> bool:
        try:
            return bool(start(*asked, **more))
        except Exception as error:  # noqa: BLE001  (whatever it is, the SDK tries again)
            _log.info("the stream does not open: %s", error)
            connection, client._conn = client._conn, None  # noqa: SLF001
            if connection is not None:
                connection.close()
            return False

    client.start = started


def _unstuck(worker: Any, synchronizer: Any) -> None:
    """Let what follows the stream fetch a segment that a change names for the first time.

    Left alone (10.7) it either never fetches it, because it hands on a change number where it is
    asked whether to; or it waits until the segment is as new as the flag, which it may never be,
    and no later change is heard meanwhile.
    """
    worker._handler = lambda till, _rules_till=None: synchronizer.synchronize_splits(till)  # noqa: SLF001
    worker._segment_handler = lambda name, _till: synchronizer.synchronize_segment(name, None)  # noqa: SLF001


def listens(manager: Any) -> bool:
    """Return whether the stream is open: what changes is heard by itself then."""
    push = getattr(manager, "_push", None)
    return push is not None and push._running and push._sse_client._status.name == "CONNECTED"  # noqa: SLF001


def begin_end(manager: Any) -> None:
    """Keep the manager from starting anything more: it may be about to."""
    manager._synchronizer.start_periodic_fetching = nothing  # noqa: SLF001
    manager._synchronizer.start_periodic_data_recording = nothing  # noqa: SLF001
    if hasattr(manager, "_push"):
        manager._push.start = nothing  # noqa: SLF001
        manager._push.update_workers_status = nothing  # noqa: SLF001


def end(manager: Any) -> None:
    """Stop what was started while the manager was stopping."""
    push = getattr(manager, "_push", None)
    if push is not None:
        push._next_refresh.cancel()  # noqa: SLF001
        push._sse_client.stop()  # noqa: SLF001
        push._processor.update_workers_status(False)  # noqa: SLF001  (the SDK's own way)
    for one in vars(manager._synchronizer._split_tasks).values():  # noqa: SLF001
        task = getattr(one, "_task", None)
        if isinstance(task, asynctask.AsyncTask):
            # A task that was just started does not hear its own stop: it is no running one yet.
            task._messages.put(asynctask.__TASK_STOP__)  # noqa: SLF001


def send_the_rest(manager: Any, timeout: float) -> None:
    """Send, within ``timeout`` seconds, the impressions that nothing has sent when all has ended.

    The SDK's senders start after it is ready. Who asks at once and closes is faster than they are,
    and what a sender has not begun to send it never does.
    """
    senders = manager._synchronizer._split_synchronizers  # noqa: SLF001

    def send() -> None:
        quiet.ended()
        try:
            senders.impressions_sync.synchronize_impressions()
            if senders.impressions_count_sync is not None:
                senders.impressions_count_sync.synchronize_counters()
        except Exception:  # noqa: BLE001  (whatever the SDK raises, closing goes on)
            _log.info("what was evaluated last could not be sent", exc_info=True)

    thread = threading.Thread(target=send, name="downhaul-split-rest", daemon=True)
    thread.start()
    thread.join(timeout)


def nothing(*_asked: Any) -> None:
    """Do nothing."""
