"""Asking the services that confirm or hold, aside from all that moves rollouts.

What is to be asked is a row, written with the decision that waits for it. It is asked from threads
of its own, outside of every transaction and of every lease on a rollout, so that a service that
hangs delays nothing but its own gate. What it said is kept before a controller reads it; whoever
ends between the call and that repeats the call, under the same id.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from downhaul._version import __version__
from downhaul.config.references import Unreadable, read_reference
from downhaul.config.secret import Secret
from downhaul.config.sources import Leaf, Reference
from downhaul.errors import DownhaulError
from downhaul.rollout.gates.facts import Door, door_of
from downhaul.rollout.gates.lint import wrong_url
from downhaul.rollout.gates.model import LONGEST_HOOK_TIMEOUT, Hook, TextAt
from downhaul.rollout.gates.times import SECOND
from downhaul.rollout.plan import Plan, digest_of
from downhaul.rollout.state import Because, State
from downhaul.rollout.units import span_text
from downhaul.store.gates import CallRow
from downhaul.store.rollouts import EventRow, RolloutRow, RolloutStore

_log: Final = logging.getLogger("downhaul.controller")

AT_ONCE: Final = 8
"""Services that one controller asks at the same time."""
TELL_AFTER: Final = 3
"""Tries after which people hear that a service holds a rollout."""

_LONGEST: Final = 60.0  # seconds between two tries
_MARGIN: Final = 5.0  # seconds that a call is nobody else's beyond its timeout
_OF_LEASE: Final = 0.8  # a service is waited for less long than a rollout is held
_LATER: Final = 5.0  # seconds until a call is looked at again whose rollout is held otherwise
_CONFIRMS: Final = range(200, 300)
_PREFIX: Final = "whsec_"  # of a secret in base64, by the convention of Standard Webhooks


@dataclass(slots=True)
class _Asking:
    """A service that is being asked: by which thread, since when, and for how long."""

    call: CallRow
    row: RolloutRow
    hook: Hook
    begun: float
    timeout: float
    thread: threading.Thread | None = None
    given_up: bool = False


class Hooks:
    """Asks services for the rollouts of one environment. ``count`` counts by name, for metrics."""

    def __init__(
        self,
        store: RolloutStore,
        count: Callable[[str, float], None],
        *,
        lease: float,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._store = store
        self._count = count
        self._most = min(LONGEST_HOOK_TIMEOUT, lease * _OF_LEASE)
        self._environ = os.environ if environ is None else environ
        self._asking: dict[str, _Asking] = {}

    def look(self, *, wait: bool = False) -> int:
        """Ask what is due, and return how many were asked. Raises Unreachable, for the store.

        Returns at once; with ``wait``, once all have answered or their time is up.
        """
        self._give_up()
        begun = [one for one in map(self._begin, self._store.gates.due()) if one is not None]
        if wait:
            for one in begun:
                left = one.begun + one.timeout - time.monotonic()
                if one.thread is not None:
                    one.thread.join(max(0.0, left))
            self._give_up()
        return len(begun)

    def _begin(self, call: CallRow) -> _Asking | None:
        """Begin to ask a service, if its rollout still waits for it and a thread is free."""
        if call.id in self._asking or self._waiting() >= AT_ONCE:
            return None
        row = self._store.get(call.rollout)
        found = None if row is None or not row.live else _hook_of(row, call)
        if row is None or found is None:
            self._store.gates.drop(call)
            return None
        hook, state = found
        if state.hold != Because.HOOK:
            self._store.gates.put_off(call, _LATER)
            return None
        timeout = min(hook.timeout, self._most)
        if not self._store.gates.take(call, timeout + _MARGIN):
            return None
        asking = _Asking(call, row, hook, time.monotonic(), timeout)
        self._asking[call.id] = asking
        asking.thread = threading.Thread(
            target=self._ask, args=(asking,), name="downhaul-hook", daemon=True
        )
        asking.thread.start()
        self._count("hooks_asked", 1)
        return asking

    def _waiting(self) -> int:
        return sum(not one.given_up for one in list(self._asking.values()))

    def _give_up(self) -> None:
        """Count what takes too long as no answer. Its thread ends when its service lets it."""
        for one in list(self._asking.values()):
            over = time.monotonic() - one.begun - one.timeout
            if over < 0 or one.given_up or one.thread is None or not one.thread.is_alive():
                continue
            one.given_up = True
            self._keep(one, _no_answer(one.timeout))

    def _ask(self, asking: _Asking) -> None:
        """Ask a service, in a thread of its own, and keep what it said."""
        try:
            trouble = self._call(asking)
            if asking.given_up:
                return  # it is kept already that there was no answer in time
            if trouble:
                self._keep(asking, trouble)
            else:
                self._confirmed(asking)
        except Exception:  # noqa: BLE001  (the call is nobody's again after its hold, and repeated)
            _log.exception("hook %s of rollout %s", asking.hook.name, asking.row.id)
        finally:
            self._asking.pop(asking.call.id, None)

    def _confirmed(self, asking: _Asking) -> None:
        told = asking.call.attempts >= TELL_AFTER
        event = _event("hook_confirmed", asking, "it confirmed", announce=told)
        self._store.gates.confirmed(asking.call, asking.row.flag, "it confirmed", event)
        self._count("hooks_confirmed", 1)

    def _keep(self, asking: _Asking, trouble: str) -> None:
        """Keep why a service did not confirm; people hear of it after some tries."""
        tries = asking.call.attempts + 1
        _log.warning("hook %s of rollout %s: %s", asking.hook.name, asking.row.id, trouble)
        event = None
        if tries == TELL_AFTER:
            event = _event("hook_waits", asking, f"{tries} tries: {trouble}", announce=True)
        retry_in = min(_LONGEST, 2.0 ** min(10, tries - 1))
        try:
            self._store.gates.refused(asking.call, asking.row.flag, trouble, retry_in, event)
        except DownhaulError as error:  # the store is away: it is asked again after its hold
            _log.warning("what hook %s said was not kept: %s", asking.hook.name, error.message)

    def _call(self, asking: _Asking) -> str:
        """Ask a service; return why it does not confirm, or nothing."""
        import requests  # noqa: PLC0415  (only who has hooks pays for it)

        hook = asking.hook
        try:
            url = self._read(hook.url)
            key = None if hook.secret is None else _key_of(self._read(hook.secret))
        except Unreadable as error:
            return f"on the controller's host, {error.message}"
        if wrong := wrong_url(url):
            return wrong
        body = body_of(asking.row, asking.call, hook)
        try:
            answer = requests.post(
                url.reveal(),
                data=body,
                headers=headers_of(asking.call, body, key),
                auth=_nothing_else,
                timeout=(asking.timeout, asking.timeout),
                allow_redirects=False,  # another host is not asked
                stream=True,  # what it says beside the status is not read
            )
        except requests.Timeout:
            return _no_answer(asking.timeout)
        except requests.RequestException as error:
            # The error names the URL, and whoever knows that may ask there.
            return f"no connection ({type(error).__name__})"
        answer.close()
        return "" if answer.status_code in _CONFIRMS else f"it answered {answer.status_code}"

    def _read(self, kept: TextAt) -> Secret:
        if kept.kind == "text":
            return Secret(kept.text)
        leaf = Leaf((), Reference(kept.kind, kept.text), "the plan", Path("/"))
        return read_reference(leaf, self._environ)


def _hook_of(row: RolloutRow, call: CallRow) -> tuple[Hook, State] | None:
    """Return the hook that a call is for, if its rollout still stands at that door."""
    try:
        plan, state = Plan.from_mapping(row.plan), State.from_mapping(row.state)
    except (KeyError, TypeError, ValueError):  # the controller says so
        return None
    if digest_of(row.plan) != call.digest or door_of(state) != Door(call.step, call.since):
        return None
    hook = next((one for one in plan.gates.hooks if one.name == call.hook), None)
    return None if hook is None else (hook, state)


def body_of(row: RolloutRow, call: CallRow, hook: Hook) -> bytes:
    """Return what a service is asked, the same at every try: JSON in one line.

    ``step`` counts from 1; ``percent`` is the exposure that is asked for, ``from_percent`` the one
    that there is by the plan. At the end both are that of the last step.
    """
    plan = Plan.from_mapping(row.plan)
    steps = [one.percent for one in plan.steps]
    last = min(call.step, len(steps) - 1)
    data = {
        "id": call.id,
        "hook": hook.name,
        "when": hook.when.value,
        "environment": row.environment,
        "provider": row.provider,
        "flag": row.flag,
        "variant": row.variant,
        "rollout": row.id,
        "digest": call.digest,
        "step": last + 1,
        "steps": len(steps),
        "percent": steps[last],
        "from_percent": steps[call.step - 1] if call.step else 0.0,
        "author": row.actor,
        "reason": row.reason,
    }
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def headers_of(call: CallRow, body: bytes, key: bytes | None) -> dict[str, str]:
    """Return the headers of a request, signed as Standard Webhooks are.

    See https://www.standardwebhooks.com: HMAC-SHA256 over ``id.timestamp.body``, in base64.
    """
    at = str(call.now // SECOND)
    found = {
        "content-type": "application/json",
        "user-agent": f"downhaul/{__version__}",
        "webhook-id": call.id,
        "webhook-timestamp": at,
    }
    if key is not None:
        signed = hmac.new(key, f"{call.id}.{at}.".encode() + body, hashlib.sha256).digest()
        found["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
    return found


def _key_of(secret: Secret) -> bytes:
    text = secret.reveal()
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        message = f"the secret begins with {_PREFIX} and is no base64"
        raise Unreadable(message, "write it as it was given") from None


def _no_answer(seconds: float) -> str:
    return f"it did not answer within {span_text(seconds)}"


def _event(action: str, asking: _Asking, said: str, *, announce: bool) -> EventRow:
    detail: dict[str, Any] = {
        "step": asking.call.step,
        "hook": asking.hook.name,
        "call": asking.call.id,
        "tries": asking.call.attempts + 1,
    }
    reason = f"hook {asking.hook.name}: {said}"
    return EventRow(action, "controller", reason, detail, announce=announce)


def _nothing_else(request: Any) -> Any:
    """Keep requests from adding what the host's .netrc has for the service."""
    return request
