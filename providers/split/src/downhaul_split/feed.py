"""What Split sends to SDKs, fetched whole by the SDK key: the one place that tells seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from downhaul.config import Secret
from downhaul.errors import FlagNotFound, ProviderError, Refused
from downhaul.vendors.rest import Asking, Refusal, RestApi
from downhaul_split.api import NAME
from downhaul_split.native import Seeds
from downhaul_split.settings import DEADLINE, SDK_URL
from downhaul_split.shapes import Changes, Keys, OldChanges
from downhaul_split.values import CONTROL

Document = dict[str, Any]

_BEGINNING: Final = -1
_SPEC, _OLD_SPEC = "1.3", "1.1"
_REFUSALS: Final[Mapping[int, Refusal]] = {
    401: Refusal("refuses the SDK key (401)", "set `sdk_key` to a server-side SDK key"),
    403: Refusal(
        "does not let this SDK key read flags (403)",
        "set `sdk_key` to a server-side SDK key of this environment: one for browsers reads less",
    ),
}


class Feed:
    """The definitions and segments of the environment that a key is for."""

    def __init__(self, key: Secret, url: str | None = None, deadline: float = DEADLINE) -> None:
        self._api = RestApi(
            (url or SDK_URL).rstrip("/"),
            key,
            vendor="Split",
            provider=NAME,
            headers=lambda token: {
                "Authorization": f"Bearer {token}",
                "Cache-Control": "no-cache",
            },
            refusals=_REFUSALS,
            not_found="see whether the segment is there in Split",
            unexpected="`sdk_url` must lead to the API of Split's SDKs",
            deadline=deadline,
        )

    def document(self) -> Document:
        """Return all flags, rule-based segments and keys of segments, as ``flags_from`` reads them.

        A segment that Split has not is not in it. Raises ProviderError, Unreachable.
        """
        with self._api.begin() as asking:
            found = self._definitions(asking)
            named = sorted(set(segments_in(found)))
            keys = {name: self._keys(asking, name) for name in named}
        segments = {name: one for name, one in keys.items() if one is not None}
        return {**found, "segments": segments}

    def seeds(self, key: str) -> Seeds:
        """Return by what Split hashes the users of a flag; empty for one that it does not send."""
        with self._api.begin() as asking:
            flags = self._definitions(asking)["ff"]["d"]
        return next((Seeds.of(one) for one in flags if one["name"] == key), Seeds.of({}))

    def _definitions(self, asking: Asking) -> Document:
        """Return the newest definition of each flag and rule-based segment, page by page."""
        flags: dict[str, Any] = {}
        rules: dict[str, Any] = {}
        since = rules_since = _BEGINNING
        while True:
            page = self._changes(asking, since, rules_since)
            flags.update({one["name"]: one for one in page["ff"]["d"]})
            rules.update({one["name"]: one for one in page["rbs"]["d"]})
            till, rules_till = page["ff"]["t"], page["rbs"]["t"]
            if till <= since and rules_till <= rules_since:
                return {"ff": {"d": [*flags.values()]}, "rbs": {"d": [*rules.values()]}}
            since, rules_since = max(since, till), max(rules_since, rules_till)

    def _changes(self, asking: Asking, since: int, rules_since: int) -> Document:
        asking.renew()
        query = {"s": _SPEC, "since": since, "rbSince": rules_since}
        with suppress(Refused):  # an older proxy knows no such words (400)
            found = asking.get("/splitChanges", query=query, shape=Changes)
            return {"rbs": {"d": [], "t": rules_since}, **found}
        query = {"s": _OLD_SPEC, "since": since}
        return _as_new(asking.get("/splitChanges", query=query, shape=OldChanges))

    def _keys(self, asking: Asking, name: str) -> list[str] | None:
        """Return the keys of a segment, or None where there is none of that name."""
        keys: set[str] = set()
        since = _BEGINNING
        path = f"/segmentChanges/{quote(name, safe='')}"
        while True:
            asking.renew()
            try:
                page = asking.get(
                    path, query={"since": since}, shape=Keys, flag=name, what="segment"
                )
            except FlagNotFound:
                return None
            keys = (keys | set(page["added"])) - set(page["removed"])
            if page["till"] <= since:
                return sorted(keys)
            since = page["till"]


def document_in(path: str) -> Document:
    """Return a file of the SDK's localhost mode, with the keys of the segments that lie beside it.

    Raises ProviderError for what can't be read.
    """
    try:
        text = Path(path).read_text("utf-8")
        if not path.lower().endswith(".json"):
            return _plain(yaml.safe_load(text))
        found: Document = json.loads(text)
        keys = {}
        for name in sorted(set(segments_in(found))):
            beside = Path(path).with_name(f"{name}.json")
            if beside.is_file():
                keys[name] = json.loads(beside.read_text("utf-8"))["added"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        message = f"{path} is not read: {type(error).__name__}: {error}"
        raise ProviderError(message, provider=NAME, hint="mend the file") from None
    return {**found, "segments": keys}


def segments_in(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the segments of keys that flags and rule-based segments ask for."""
    flags = (document.get("ff") or {}).get("d") or document.get("splits") or ()
    rules = (document.get("rbs") or {}).get("d") or ()
    for one in (*flags, *rules):
        for condition in one.get("conditions") or ():
            for matcher in (condition.get("matcherGroup") or {}).get("matchers") or ():
                if matcher.get("matcherType") == "IN_SEGMENT":
                    yield (matcher.get("userDefinedSegmentMatcherData") or {})["segmentName"]
        for outside in (one.get("excluded") or {}).get("segments") or ():
            if outside["type"] == "standard":
                yield outside["name"]


def _as_new(page: Mapping[str, Any]) -> Document:
    return {
        "ff": {"d": page["splits"], "t": page["till"]},
        "rbs": {"d": [], "t": _BEGINNING},
    }


def _plain(entries: Any) -> Document:
    """Return what a YAML file says, as the SDK understands it: some keys first, then everybody."""
    flags: dict[str, Document] = {}
    for entry in entries:
        ((name, said),) = entry.items()
        flag = flags.setdefault(str(name), {"listed": [], "others": [], "configurations": {}})
        treatment = str(said["treatment"])
        if "config" in said:
            flag["configurations"][treatment] = said["config"]
        if "keys" in said:
            keys = said["keys"] if isinstance(said["keys"], list) else [said["keys"]]
            data = {"whitelistMatcherData": {"whitelist": [str(one) for one in keys]}}
            flag["listed"].append(_condition("WHITELIST", treatment, data))
        else:
            flag["others"].append(_condition("ALL_KEYS", treatment, {}))
    return {"splits": [_split(name, **flag) for name, flag in flags.items()]}


def _split(name: str, listed: list[Any], others: list[Any], configurations: Document) -> Document:
    default = others[0]["partitions"][0]["treatment"] if others else CONTROL
    return {
        "name": name,
        "status": "ACTIVE",
        "killed": False,
        "defaultTreatment": default,
        "conditions": [*listed, *others],
        "configurations": configurations,
    }


def _condition(kind: str, treatment: str, data: Mapping[str, Any]) -> Document:
    matcher = {"matcherType": kind, "negate": False, "keySelector": None, **data}
    return {
        "conditionType": "WHITELIST",
        "matcherGroup": {"combiner": "AND", "matchers": [matcher]},
        "partitions": [{"treatment": treatment, "size": 100}],
    }
