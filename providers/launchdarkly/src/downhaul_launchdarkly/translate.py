"""LaunchDarkly's documents and contexts in our words.

``flags_from`` reads what LaunchDarkly sends to its SDKs (``{"flags": ..., "segments": ...}``) and
what its REST API shows of flags in one environment. Each flag decides here as the SDK decides, or
the ledger says why it doesn't.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, Final, TypeVar

from downhaul.context import Context, as_context
from downhaul.errors import DocumentError, Problem
from downhaul.evaluator.lowering import lifted, lifted_segment
from downhaul.flag import FlagSet
from downhaul.ledger import Fidelity, Ledger, LedgerEntry, Translation
from downhaul.references import Node, find_cycles, named_by
from downhaul_launchdarkly.rules import NotCarried, flag_of, segment_of, segments_named

_Made = TypeVar("_Made")
Parts = list[tuple[str, Mapping[str, Any]]]

_SEVERAL: Final = "ask LaunchDarkly for one environment: `?env=production&summary=0`"
_WANTED: Final = (
    "it is neither what LaunchDarkly sends to SDKs nor what its REST API shows of flags"
)


def context_from(mapping: Mapping[str, Any]) -> Context:
    """Return a LaunchDarkly context (``kind`` and ``key`` beside attributes, or multi) as ours."""
    return as_context({"kind": "user", **mapping})


def flags_from(document: Mapping[str, Any] | str | bytes) -> Translation:
    """Return the flags and segments of a LaunchDarkly document, with a ledger of each.

    Rules that ask for a bucket by somebody else's hash read as the splits and gates that they are.
    Raises DocumentError, with the place, for what is no such document.
    """
    return lifted_whole(read_as_written(document))


def lifted_whole(written: Translation) -> Translation:
    """Return a translation with splits and gates for what asks for a bucket."""
    return replace(
        written,
        flags=tuple(map(lifted, written.flags)),
        segments=tuple(map(lifted_segment, written.segments)),
    )


def read_as_written(document: Mapping[str, Any] | str | bytes) -> Translation:
    """Return the same, rule by rule as LaunchDarkly has them. Raises DocumentError."""
    try:
        data = json.loads(document) if isinstance(document, (str, bytes)) else document
    except ValueError as error:
        raise _refused("", f"it is no JSON: {error}") from None
    flags, segments = _parts(data)
    by_key = {str(one.get("key")): one for _path, one in flags}
    kept, lost_segments = _carried(segments, segment_of, segments_named)
    made, lost = _carried(
        flags,
        lambda raw: flag_of(raw, by_key),
        lambda flag: frozenset(one.flag for one in flag.prerequisites),
    )
    circling = _circling(FlagSet(made, kept))
    lost_segments |= _dropped(kept, "segment", circling)
    lost |= _dropped(made, "flag", circling)
    for flag in list(made.values()):
        if segments_named(flag) & lost_segments.keys():
            lost[flag.key] = "it asks for a segment that is not carried"
            del made[flag.key]
    made, more = _without(made, lost, lambda flag: {one.flag for one in flag.prerequisites})
    lost |= more
    entries = [
        *(
            _entry(str(raw.get("key")), path, lost.get(str(raw.get("key"))), raw)
            for path, raw in flags
        ),
        *(_entry("", path, lost_segments.get(str(raw.get("key"))), raw) for path, raw in segments),
    ]
    return Translation(tuple(made.values()), tuple(kept.values()), Ledger(tuple(entries)))


def as_sent(raw: Mapping[str, Any], environment: str | None = None) -> dict[str, Any]:
    """Return a flag of the REST API as LaunchDarkly sends it to the SDKs of one environment.

    Raises DocumentError where the document has not that environment, or several and none is named.
    """
    places = raw["environments"]
    if environment is None and len(places) == 1:
        environment = next(iter(places))
    if environment not in places:
        raise _refused("environments", f"it has {', '.join(sorted(places)) or 'none'}", _SEVERAL)
    here = places[environment]
    rules = [
        {**one, "id": one.get("_id", "")}
        for one in here.get("rules") or []
        if not one.get("disabled")  # no SDK is sent a rule that is switched off
    ]
    return {
        **{name: here.get(name) for name in _HERE},
        "key": raw["key"],
        "rules": rules,
        "variations": [one["value"] for one in raw["variations"]],
        "tags": raw.get("tags") or [],
        "description": raw.get("description") or "",
        **_own(raw.get("customProperties") or {}),
    }


OWNER: Final = "downhaul-owner"
TYPE: Final = "downhaul-type"
"""The custom properties that keep what LaunchDarkly has no field for."""


def _own(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Downhaul itself wrote down beside a flag."""
    found = {name: properties.get(key, {}) for name, key in (("owner", OWNER), ("type", TYPE))}
    return {name: one["value"][0] for name, one in found.items() if one.get("value")}


_HERE: Final = (
    "version",
    "on",
    "salt",
    "offVariation",
    "fallthrough",
    "targets",
    "contextTargets",
    "prerequisites",
)


def _parts(data: Any) -> tuple[Parts, Parts]:
    if not isinstance(data, Mapping):
        raise _refused("", _WANTED)
    if isinstance(data.get("flags"), Mapping):
        return _named(data, "flags"), _named(data, "segments")
    if isinstance(data.get("items"), list):
        listed: Iterable[tuple[str, Any]] = (
            (f"items[{place}]", one) for place, one in enumerate(data["items"])
        )
    elif "environments" in data:
        listed = [("", data)]
    else:
        raise _refused("", _WANTED)
    found: Parts = []
    for path, one in listed:
        try:
            found.append((path, as_sent(one)))
        except (KeyError, TypeError, AttributeError) as error:
            raise _refused(path, f"it is no flag: {type(error).__name__} {error}") from None
    return found, []


def _named(data: Mapping[str, Any], part: str) -> Parts:
    found: Parts = []
    for key, one in (data.get(part) or {}).items():
        if not isinstance(one, Mapping):
            raise _refused(f"{part}.{key}", "it is no object")
        if not one.get("deleted"):
            found.append((f"{part}.{key}", {**one, "key": key}))
    return found


def _carried(
    parts: Parts,
    make: Callable[[Mapping[str, Any]], _Made],
    needs: Callable[[_Made], AbstractSet[str]],
) -> tuple[dict[str, _Made], dict[str, str]]:
    """Return what could be made, by key, and why the rest could not."""
    made: dict[str, _Made] = {}
    lost: dict[str, str] = {}
    for _path, raw in parts:
        key = str(raw.get("key"))
        try:
            made[key] = make(raw)
        except NotCarried as error:
            lost[key] = str(error)
    made, more = _without(made, lost, needs)
    return made, lost | more


def _without(
    made: Mapping[str, _Made], lost: Mapping[str, str], needs: Callable[[_Made], AbstractSet[str]]
) -> tuple[dict[str, _Made], dict[str, str]]:
    """Return what needs nothing that is lost, and why the rest is lost too."""
    left, more = dict(made), dict(lost)
    while gone := {key: needs(one) & more.keys() for key, one in left.items()}:
        gone = {key: missing for key, missing in gone.items() if missing}
        if not gone:
            break
        for key, missing in gone.items():
            more[key] = f'it needs "{min(missing)}", which is not carried'
            del left[key]
    return left, more


def _circling(flag_set: FlagSet) -> frozenset[Node]:
    """Return what takes part in a circle, or leads into one: the SDK calls all of it malformed."""
    starts = [Node("flag", key) for key in flag_set.flags]
    starts += [Node("segment", key) for key in flag_set.segments]
    found = {node for cycle in find_cycles(flag_set, starts) for node in cycle}
    grown = True
    while grown:
        more = {
            node
            for node in starts
            if node not in found
            and found.intersection(
                named_by((flag_set.flags if node.sort == "flag" else flag_set.segments)[node.key])
            )
        }
        found |= more
        grown = bool(more)
    return frozenset(found)


def _dropped(made: dict[str, _Made], sort: str, circling: frozenset[Node]) -> dict[str, str]:
    """Take out what is in a circle, and return why."""
    gone = [key for key in made if Node(sort, key) in circling]
    for key in gone:
        del made[key]
    return dict.fromkeys(gone, "it needs itself, through others: LaunchDarkly calls it malformed")


def _entry(flag: str, path: str, lost: str | None, raw: Mapping[str, Any]) -> LedgerEntry:
    if lost is None:
        return LedgerEntry(flag, path, Fidelity.FULL)
    return LedgerEntry(flag, path, Fidelity.MANUAL, lost, dict(raw))


def _refused(path: str, message: str, hint: str | None = None) -> DocumentError:
    problem = Problem(path or "$", message, hint=hint)
    return DocumentError("LaunchDarkly's document is refused", [problem])
