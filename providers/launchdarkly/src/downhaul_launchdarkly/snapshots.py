"""Snapshots: LaunchDarkly's own document of a flag, and the one patch that brings it back."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any, Final

from downhaul.encoding import flag_to_data
from downhaul.errors import FlagNotFound, ProviderError, Refused
from downhaul.flag import Flag
from downhaul.provider import Change, ProviderSnapshot, utc_now
from downhaul_launchdarkly.api import NAME, Asking, Operation
from downhaul_launchdarkly.stored import Stored
from downhaul_launchdarkly.whole import FIELDS, place_of, set_to
from downhaul_launchdarkly.writing import amend_flag

_log: Final = logging.getLogger("downhaul")
_HERE: Final = (*FIELDS, "trackEvents", "trackEventsFallthrough")
_UNREAD: Final = ""
_BESIDE: Final = ("name", "description", "tags", "temporary", "customProperties")


def taken(asking: Asking, state: Stored, flag: Flag) -> ProviderSnapshot:
    """Return a snapshot of a flag.

    The document is the flag in our words, as rollouts read it, with LaunchDarkly's own document
    beside it, which is what is restored, and the versions of the segments that it names.
    """
    own = {
        "document": copy.deepcopy(dict(state.document)),
        "segments": _segments_of(asking, state),
    }
    document = {**flag_to_data(flag), NAME: own}
    return ProviderSnapshot(state.key, NAME, state.version, document, utc_now())


def restored(asking: Asking, snapshot: ProviderSnapshot, before: Stored, change: Change) -> Stored:
    """Bring a snapshot back over what is there, in one patch. Raises Refused, Moved.

    Everything is as it was but for ids that LaunchDarkly gives. A variation that came since stays,
    because other environments may serve it.
    """
    old = Stored(snapshot.document[NAME]["document"], before.environment)
    if before.ids[: len(old.ids)] != old.ids:
        message = f'flag "{before.key}" has other variations than the snapshot'
        raise Refused(message, flag=before.key, hint="bring its variations back first")
    wanted: dict[str, Any] = {name: old.here.get(name) for name in _HERE}
    beside = {name: old.document.get(name) for name in _BESIDE}
    place = place_of(before.environment)
    made: list[Operation] = [
        *_differing(f"{place}/", wanted, before.here),
        *_differing("/", beside, before.document),
    ]
    for number, (was, now) in enumerate(
        zip(old.document["variations"], before.document["variations"], strict=False)
    ):
        part = {name: was.get(name) for name in ("value", "name", "description")}
        made += _differing(f"/variations/{number}/", part, now)
    if before.archived:
        made.append({"op": "replace", "path": "/archived", "value": False})
    after = before
    if made:
        after = amend_flag(
            asking, before, made, change, here=wanted, about=beside, ignore_conflicts=True
        )
    _tell_of_segments(asking, snapshot, old)
    return after


def _differing(place: str, wanted: Mapping[str, Any], there: Mapping[str, Any]) -> list[Operation]:
    return [
        set_to(f"{place}{name}", there.get(name), value)
        for name, value in wanted.items()
        if there.get(name) != value and not (value is None and name not in there)
    ]


def _tell_of_segments(asking: Asking, snapshot: ProviderSnapshot, old: Stored) -> None:
    """Log which segments changed since: they are no part of the flag, and stay as they are."""
    before = snapshot.document[NAME]["segments"]
    now = _segments_of(asking, old)
    for key in sorted(now):
        if now[key] == before.get(key) != _UNREAD:
            continue
        what = "changed" if now[key] else "is gone"
        if _UNREAD in (now[key], before.get(key)):
            what = "may have changed: it could not be read"
        _log.warning(
            'flag "%s" is brought back, but segment "%s", which it names, %s since',
            snapshot.flag,
            key,
            what,
        )


def _segments_of(asking: Asking, state: Stored) -> dict[str, str | None]:
    """Return the versions of the segments that a flag's rules name, None for what is not there.

    That one can't be read stops no snapshot, and no way back.
    """
    named = {
        str(value)
        for rule in state.sent["rules"]
        for clause in rule["clauses"]
        if clause["op"] == "segmentMatch"
        for value in clause["values"]
    }
    found: dict[str, str | None] = {}
    for key in sorted(named):
        try:
            found[key] = str(asking.segment(key, state.environment)["version"])
        except FlagNotFound:
            found[key] = None
        except ProviderError:
            found[key] = _UNREAD
    return found


def refuse_others(snapshot: ProviderSnapshot) -> None:
    """Raise Refused for a snapshot of another provider, or of another shape."""
    own = snapshot.document.get(NAME)
    if snapshot.provider != NAME or not isinstance(own, Mapping) or "document" not in own:
        message = f'a snapshot of provider "{snapshot.provider}" is no document of LaunchDarkly'
        hint = "restore it where it was taken"
        raise Refused(message, flag=snapshot.flag, provider=NAME, hint=hint)
