"""Everything that LaunchDarkly tells its SDKs, read anew and whole, with a ledger of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn

from pydantic import Field
from yaml import YAMLError, safe_load

from downhaul.config import Declaration, RolloutMode, Secret
from downhaul.errors import ProviderError
from downhaul.evaluator.asking import portable_bucketing
from downhaul.flag import WHOLE, Bucketing, Flag, Split, Weight
from downhaul.ledger import Fidelity, Ledger, Translation
from downhaul.vendors.rest import Denied, Refusal, RestApi
from downhaul.vendors.shapes import Shape
from downhaul_launchdarkly.api import NAME
from downhaul_launchdarkly.known import is_portable, kind_of, names_of
from downhaul_launchdarkly.translate import flags_from

POLL_URL: Final = "https://app.launchdarkly.com"
"""Where the SDK polls unless it is told otherwise."""

_LATEST: Final = "/sdk/latest-all"
_UNDECLARED: Final = "buckets: its share is by a portable rollout, which is not declared here"
_HINT: Final = "set `sdk_key` to the server-side key of the environment"
_REFUSALS: Final[Mapping[int, Refusal]] = {
    401: Refusal("refuses the SDK key (401)", _HINT, Denied),
    403: Refusal("does not let this SDK key read flags (403)", _HINT, Denied),
}


class _Payload(Shape):
    flags: dict[str, Any]
    segments: dict[str, Any] = Field(default_factory=dict)


def told_by_service(sdk_key: Secret | None, url: str | None, deadline: float) -> Mapping[str, Any]:
    """Return the payload of an environment, by one request. Raises Unreachable, ProviderError."""
    api = RestApi(
        (url or POLL_URL).rstrip("/"),
        sdk_key or Secret(""),
        vendor="LaunchDarkly",
        provider=NAME,
        refusals=_REFUSALS,
        unexpected="`poll_url` must lead to LaunchDarkly, or to a Relay Proxy",
        deadline=deadline,
    )
    with api.begin() as asking:
        payload: Mapping[str, Any] = asking.get(_LATEST, shape=_Payload)
    return payload


def told_by_file(path: str) -> Mapping[str, Any]:
    """Return the flags of a file in the format of the SDK. Raises ProviderError."""
    try:
        data = safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        _unreadable(path, str(error))
    if not isinstance(data, Mapping):
        _unreadable(path, "it holds no flags")
    flags = dict(data.get("flags") or {})
    for key, value in (data.get("flagValues") or {}).items():
        flags[key] = {"on": True, "fallthrough": {"variation": 0}, "variations": [value]}
    parts = {"flags": flags, "segments": dict(data.get("segments") or {})}
    return {
        name: {key: {"key": key, "version": 1, **one} for key, one in many.items()}
        for name, many in parts.items()
    }


def _unreadable(path: str, why: str) -> NoReturn:
    message = f"the flags in {path} can't be read: {why}"
    hint = "make it a file of LaunchDarkly's SDK: flags, flagValues, segments"
    raise ProviderError(message, provider=NAME, hint=hint) from None


def exported(
    payload: Mapping[str, Any],
    about: Mapping[str, Flag],
    declared: Mapping[str, Declaration],
) -> Translation:
    """Return the translation of a payload.

    ``about`` are flags that tell what no SDK is told; ``declared`` says whose buckets are sent
    under the older names, which do not say it themselves.
    """
    read = flags_from(payload)
    documents = payload["flags"]
    older = {one.key for one in read.flags if is_portable(documents[one.key])}
    known = {key for key in older if _is_portable(declared.get(key))}
    flags = tuple(
        _with_about(
            _by_bucket(one, documents[one.key], declared[one.key]) if one.key in known else one,
            about,
        )
        for one in read.flags
    )
    entries = tuple(
        replace(one, fidelity=Fidelity.PARTIAL, reason=_UNDECLARED, fragment=documents[one.flag])
        if one.flag in older - known
        else one
        for one in read.ledger
    )
    return Translation(flags, read.segments, Ledger(entries))


def _is_portable(declared: Declaration | None) -> bool:
    return declared is not None and declared.rollout is RolloutMode.PORTABLE


def _with_about(flag: Flag, about: Mapping[str, Flag]) -> Flag:
    other = about.get(flag.key)
    if other is None:
        return flag
    return replace(
        flag,
        tags=other.tags,
        description=other.description,
        owner=other.owner,
        type=other.type,
    )


def _by_bucket(flag: Flag, raw: Mapping[str, Any], declared: Declaration) -> Flag:
    """Return a flag whose last rule is by a declared bucket as the percentage that it is."""
    rule = flag.rules[-1]
    (edge,) = rule.clauses[0].values
    how = portable_bucketing(declared.scheme, declared.salt)
    names = names_of(raw["variations"], kind_of(raw["variations"]))
    rest = names[raw["fallthrough"]["variation"]]
    share = -(-int(edge) * how.total // WHOLE)
    weights = (Weight(str(rule.serve), share), Weight(rest, how.total - share))
    return replace(flag, rules=flag.rules[:-1], default=Split(weights, _said(how, flag.key)))


def _said(how: Bucketing, key: str) -> Bucketing:
    return how if how.salt is not None else replace(how, salt=key)
