"""A flag as LaunchDarkly's REST API shows it, and back to what SDKs are sent of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from downhaul_emulators.launchdarkly.emulator import LaunchDarklyEmulator

_ABOUT: Final[Mapping[str, Any]] = {
    "tags": [],
    "description": "",
    "temporary": True,
    "customProperties": {},
}
_ELSEWHERE: Final = frozenset({"key", "variations"})


def shown(service: LaunchDarklyEmulator, key: str) -> dict[str, Any]:
    """Return what the API answers for a flag."""
    flag = copy.deepcopy(service.flags[key] if key in service.flags else service.archive[key])
    about = copy.deepcopy(service.about.get(key, {}))
    names = about.pop("names", [])
    variations = [
        {"_id": f"{key}-{place}", "value": value}
        | ({"name": names[place]} if place < len(names) and names[place] else {})
        for place, value in enumerate(flag["variations"])
    ]
    here = {name: value for name, value in flag.items() if name not in _ELSEWHERE}
    here["archived"] = False  # of the environment: that of the flag stands above
    here["rules"] = [
        {**{name: one for name, one in rule.items() if name != "id"}, "_id": rule.get("id", "")}
        for rule in flag["rules"]
    ]
    return {
        "key": key,
        "name": key,
        **copy.deepcopy(dict(_ABOUT)),
        **about,
        "archived": key in service.archive,
        "variations": variations,
        "environments": {service.environment: here},
    }


def flag_from(document: Mapping[str, Any], environment: str) -> dict[str, Any]:
    """Return what SDKs are sent of a document of the API; rules that are new get ids."""
    here = document["environments"][environment]
    rules = [
        {
            **{name: one for name, one in rule.items() if name != "_id"},
            "id": rule.get("_id") or f"rule-{here['version']}-{place}",
        }
        for place, rule in enumerate(here["rules"])
    ]
    return {
        "offVariation": None,
        **{name: value for name, value in here.items() if name != "archived"},
        "key": document["key"],
        "rules": rules,
        "variations": [one["value"] for one in document["variations"]],
    }


def about_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a flag that no SDK is sent."""
    about = {name: document[name] for name in ("name", *_ABOUT) if name in document}
    about["names"] = [one.get("name", "") for one in document["variations"]]
    return copy.deepcopy(about)
