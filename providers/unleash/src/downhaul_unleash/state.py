"""A flag as Unleash's admin API shows it, in one environment, and as a flag of ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from downhaul.errors import ProviderError
from downhaul.flag import (
    WHOLE,
    Bucketing,
    Flag,
    FlagKind,
    Prerequisite,
    Rule,
    Serve,
    Split,
    Target,
    Weight,
)
from downhaul_unleash.api import NAME
from downhaul_unleash.marks import mark_of
from downhaul_unleash.reading import read
from downhaul_unleash.recognising import recognised
from downhaul_unleash.shape import (
    Shape,
    Strategy,
    body_of,
    bucket_of,
    normal,
    shape_of,
    share_of,
)
from downhaul_unleash.translate import flags_from
from downhaul_unleash.variants import table_of

_ABOUT: Final = ("type", "description", "project", "impressionData", "stale")
_NOBODY: Final = {"name": "flexibleRollout", "parameters": {"rollout": "0"}}


@dataclass(frozen=True, slots=True)
class State:
    """A flag in one environment. ``variants`` are those of the flag, apart from its strategies'.

    ``segments`` are those that its strategies name: other flags share them. ``children`` are the
    flags that depend on it.
    """

    key: str
    enabled: bool
    strategies: tuple[Strategy, ...]
    about: Mapping[str, Any]
    variants: Sequence[Any] = ()
    dependencies: Sequence[Mapping[str, Any]] = ()
    segments: Sequence[Mapping[str, Any]] = ()
    children: tuple[str, ...] = ()

    def with_segments(self, found: Sequence[Mapping[str, Any]]) -> State:
        """Return the flag with its segments out of all that there are."""
        ids = {each for one in self.strategies for each in one["segments"]}
        kept = [
            {name: one.get(name) for name in ("id", "name", "constraints")}
            for one in sorted(found, key=lambda each: int(each["id"]))
            if one["id"] in ids
        ]
        return replace(self, segments=tuple(kept))

    @property
    def shape(self) -> Shape:
        """Return the strategies told apart."""
        return shape_of(self.strategies)

    @property
    def ours(self) -> Flag | None:
        """Return the flag, without its switch and dependencies, if Downhaul wrote it whole."""
        marked = [one for one in self.strategies if mark_of(one["parameters"]) is not None]
        if not marked or self.variants:
            return None
        (feature,) = read({"features": [self.document()]}).features.values()
        return recognised(feature, table_of(feature))

    def document(self) -> dict[str, Any]:
        """Return the flag, on, as a server serves it to SDKs: without disabled strategies."""
        about = {name: value for name, value in self.about.items() if name in ("type", "project")}
        return {
            "name": self.key,
            "enabled": True,
            **about,
            "description": self.about.get("description") or "",
            "variants": list(self.variants),
            "strategies": [one for one in self.strategies if not one["disabled"]],
        }

    @property
    def version(self) -> str:
        """Return what changes with the flag: Unleash numbers no versions. Ids and places aside."""
        bodies = [{**body_of(one), "sortOrder": 0} for one in self.strategies]
        said = [
            self.enabled,
            sorted(json.dumps(one, sort_keys=True) for one in bodies),
            {**self.about, "stale": None},
            list(self.variants),
            list(self.dependencies),
            *([one["id"], one["constraints"]] for one in self.segments),
        ]
        text = json.dumps(said, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def state_of(document: Mapping[str, Any], environment: str) -> State:
    """Return what the admin API shows. Raises ProviderError for an unknown environment."""
    environments = {one["name"]: one for one in document["environments"]}
    here = environments.get(environment)
    key = str(document["name"])
    if here is None:
        names = ", ".join(f'"{name}"' for name in environments) or "none"
        message = f'the project of flag "{key}" has no environment "{environment}" in Unleash'
        hint = f"set `environment` in [provider] to one of its environments: {names}"
        raise ProviderError(message, hint=hint, flag=key, provider=NAME)
    return State(
        key=key,
        enabled=bool(here["enabled"]),
        strategies=tuple(normal(one) for one in here.get("strategies") or ()),
        about={name: document.get(name) for name in _ABOUT},
        variants=tuple(here.get("variants") or ()),
        dependencies=tuple(
            {name: one.get(name) for name in ("feature", "enabled", "variants")}
            for one in document.get("dependencies") or ()
        ),
        children=tuple(map(str, document.get("children") or ())),
    )


def flag_of(state: State, off: str | None) -> Flag:
    """Return a state as a flag. ``off`` is the declared off variant.

    Our own strategies are its targets and its default; every foreign one is a rule, as Unleash's
    engine reads it.
    """
    shape = state.shape
    if state.ours is not None:
        return _beside(_read(state, state.document()), state)
    flag = _translated(state, shape)
    default = _default(state, shape, flag)
    serving = "on" if flag.kind is FlagKind.BOOLEAN else _served(shape, flag)
    targets = [
        Target(variant, users)
        for variant, users in ((flag.off_variant, shape.denied), (serving, shape.allowed))
        if users and variant is not None
    ]
    flag = replace(flag, default=default, targets=tuple(targets))
    return _with_off(_beside(flag, state), off)


def _beside(flag: Flag, state: State) -> Flag:
    """Return a flag with what stands beside its strategies."""
    needs = tuple(
        Prerequisite(one["feature"], tuple(one["variants"] or ()), one["enabled"] is False)
        for one in state.dependencies
    )
    return replace(flag, on=state.enabled, prerequisites=needs, version=state.version)


def served_variant(shape: Shape) -> str | None:
    """Return the one variant that our rollout serves, or None where it has none, or several."""
    variants = [] if shape.rollout is None else shape.rollout["variants"]
    names = [str(one["name"]) for one in variants if one["weight"]]
    return names[0] if len(names) == 1 else None


def _served(shape: Shape, flag: Flag) -> str | None:
    name = served_variant(shape)
    return name if name in flag.variants else None


def _translated(state: State, shape: Shape) -> Flag:
    foreign = [
        {**one, "constraints": [each for each in one["constraints"] if each not in shape.denies]}
        for one in shape.foreign
    ]
    last: Mapping[str, Any] = {**_NOBODY, "parameters": {"rollout": "0", "groupId": state.key}}
    if shape.rollout is not None:
        last = {
            **shape.rollout,
            "constraints": [
                one
                for one in shape.rollout["constraints"]
                if one not in shape.denies and one != bucket_of(shape.rollout, state.key)
            ],
        }
    return _read(state, {**state.document(), "strategies": [*foreign, last]})


def _read(state: State, feature: Mapping[str, Any]) -> Flag:
    made = flags_from({"version": 2, "features": [feature], "segments": list(state.segments)})
    if not made.flags:
        message = f'flag "{state.key}" of Unleash cannot be a flag here'
        hint = "see what `downhaul flags import --from unleash` says of it"
        raise ProviderError(message, hint=hint, flag=state.key, provider=NAME)
    return made.flags[0]


def _default(state: State, shape: Shape, flag: Flag) -> Serve:
    off = flag.off_variant or "off"
    if shape.rollout is None:
        return off
    weight = share_of(shape.rollout, state.key)
    on = "on" if flag.kind is FlagKind.BOOLEAN else _served(shape, flag)
    if weight is None or on is None:
        return flag.default
    if weight in (0, WHOLE):
        return on if weight else off
    if bucket_of(shape.rollout, state.key) is not None:
        return Split((Weight(on, weight), Weight(off, WHOLE - weight)), Bucketing())
    return flag.default


def _with_off(flag: Flag, off: str | None) -> Flag:
    """Return the flag with its declared off variant in the place of the one that was made up."""
    made_up = flag.off_variant
    if off is None or made_up is None or off == made_up or flag.kind is FlagKind.BOOLEAN:
        return flag
    values = {name: value for name, value in flag.variants.items() if name != made_up}
    if off not in values:
        if flag.kind is not FlagKind.STRING:
            return flag
        values[off] = off

    def renamed(serve: Serve) -> Serve:
        if isinstance(serve, str):
            return off if serve == made_up else serve
        weights = tuple(
            replace(one, variant=off) if one.variant == made_up else one for one in serve.weights
        )
        return replace(serve, weights=weights)

    rules: tuple[Rule, ...] = tuple(replace(one, serve=renamed(one.serve)) for one in flag.rules)
    return replace(
        flag,
        variants=values,
        off_variant=off,
        default=renamed(flag.default),
        rules=rules,
        targets=tuple(
            replace(one, variant=off) if one.variant == made_up else one for one in flag.targets
        ),
    )
