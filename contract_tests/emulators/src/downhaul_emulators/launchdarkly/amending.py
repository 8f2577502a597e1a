"""JSON patches (RFC 6902), as far as LaunchDarkly documents them: test, add, replace, remove."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

from downhaul_emulators.launchdarkly.checking import Invalid

_TOP: Final = frozenset(
    {
        "name",
        "description",
        "tags",
        "temporary",
        "archived",
        "customProperties",
        "variations",
    }
)
_HERE: Final = frozenset(
    {
        "on",
        "targets",
        "contextTargets",
        "rules",
        "fallthrough",
        "offVariation",
        "prerequisites",
        "trackEvents",
        "trackEventsFallthrough",
    }
)


class Mismatch(ValueError):
    """A ``test`` did not find what it asked for: nothing is done."""


def operations_of(body: Any) -> Sequence[Mapping[str, Any]]:
    """Return the operations of a patch, which may have a comment around them."""
    found = body.get("patch") if isinstance(body, Mapping) else body
    if not isinstance(found, list) or not found:
        raise Invalid("a JSON patch is a list of operations")
    return found


def amended(document: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the document after all operations. Raises Mismatch, Invalid."""
    whole = copy.deepcopy(dict(document))
    for one in operations:
        _do(whole, one)
    return whole


def check_paths(before: Mapping[str, Any], after: Mapping[str, Any], environment: str) -> None:
    """Raise Invalid where something was changed that no patch changes."""
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    wrong = changed - _TOP - {"environments"}
    one, two = before["environments"], after["environments"]
    if one.keys() != two.keys():
        wrong.add("environments")
    here = one[environment], two[environment]
    wrong |= {
        name
        for name in {*here[0], *here[1]}
        if here[0].get(name) != here[1].get(name) and name not in _HERE
    }
    if wrong:
        raise Invalid(f"no patch changes {', '.join(sorted(wrong))}")


def _do(whole: Any, one: Mapping[str, Any]) -> None:
    *way, last = _parts(one["path"])
    place = whole
    for part in way:
        place = place[_index(place, part)] if isinstance(place, list) else _member(place, part)
    operation = one["op"]
    if isinstance(place, list):
        _in_list(place, last, one)
    elif operation == "add":
        place[last] = one["value"]
    elif operation == "replace":
        _member(place, last)
        place[last] = one["value"]
    elif operation == "remove":
        _member(place, last)
        del place[last]
    elif operation == "test":
        if place.get(last) != one["value"]:
            raise Mismatch(f"{one['path']} is {place.get(last)!r}, not {one['value']!r}")
    else:
        raise Invalid(f"unknown operation {operation}")


def _in_list(place: list[Any], last: str, one: Mapping[str, Any]) -> None:
    if one["op"] == "add":
        index = len(place) if last == "-" else _index(place, last, more=1)
        place.insert(index, one["value"])
        return
    index = _index(place, last)
    if one["op"] == "replace":
        place[index] = one["value"]
    elif one["op"] == "remove":
        del place[index]
    elif one["op"] == "test":
        if place[index] != one["value"]:
            raise Mismatch(f"{one['path']} is {place[index]!r}, not {one['value']!r}")
    else:
        raise Invalid(f"unknown operation {one['op']}")


def _parts(path: str) -> list[str]:
    if not path.startswith("/"):
        raise Invalid(f"{path!r} is no path")
    return [one.replace("~1", "/").replace("~0", "~") for one in path[1:].split("/")]


def _member(place: Any, part: str) -> Any:
    if not isinstance(place, dict) or part not in place:
        raise Invalid(f"there is no {part}")
    return place[part]


def _index(place: Sequence[Any], part: str, more: int = 0) -> int:
    if not part.isdigit() or int(part) >= len(place) + more:
        raise Invalid(f"there is no place {part}")
    return int(part)
