"""What takes a flag's key in each SDK: names, the order of arguments, what stands in for none.

The orders differ, and silently: LaunchDarkly takes key, context, default; OpenFeature key, default,
context; Split the user first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from downhaul.migrate.code.model import NO_DEFAULT, Default, DefaultKind

ALL_FLAGS: Final = "all flags"


@dataclass(frozen=True, slots=True)
class Verb:
    """One call of an SDK that refers to flags.

    ``parameters`` are names by position, without ``self``; the first ``required`` have no default.
    ``key`` and ``default`` name two of them. ``distinct`` says that no other library is known to
    call anything so: such a call counts even where its receiver is not known.
    """

    sdk: str
    name: str
    parameters: tuple[str, ...]
    required: int
    key: str | None = None
    default: str | None = None
    implicit: Default = NO_DEFAULT
    distinct: bool = False
    several: bool = False
    """``key`` takes a list of keys, or a mapping of them."""
    keywords: bool = False
    """Other keyword arguments are keys as well."""
    bulk: str | None = None
    """Asks for flags that it does not name."""
    static: bool = False
    """Called on the class as it is on an instance."""
    prefix: str = ""
    negatable: bool = False
    """A ``!`` before the key turns the answer round."""
    calls_default: bool = False
    """``default`` is a function that returns the value."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of an SDK: its verbs, and of what kind the answers of its other methods are."""

    name: str
    verbs: Mapping[str, Verb]
    makes: Mapping[str, str]


def _implicit(value: Any, text: str = "", *, excuse: bool = False) -> Default:
    return Default(DefaultKind.IMPLICIT, value, text, excuse)


def _verb(sdk: str, name: str, parameters: str, key: str | None = None, **more: Any) -> Verb:
    """Make a verb of ``name context= default=``; a parameter with ``=`` may be left out."""
    names = parameters.split()
    required = sum(1 for one in names if not one.endswith("="))
    return Verb(sdk, name, tuple(one.rstrip("=") for one in names), required, key, **more)


def _kind(name: str, verbs: Iterable[Verb] = (), **makes: str) -> Kind:
    return Kind(name, {one.name: one for one in verbs}, makes)


def _downhaul() -> Kind:
    def verb(name: str, parameters: str, key: str = "flag", **more: Any) -> Verb:
        return _verb("downhaul", name, parameters, key, **more)

    any_type = _implicit(None)
    return _kind(
        "Flags",
        [
            verb(
                "is_enabled",
                "flag context= default=",
                default="default",
                implicit=_implicit(False),
            ),
            verb("value", "flag context default", default="default"),
            verb("evaluate", "flag context= default=", default="default", implicit=any_type),
            verb("evaluate_many", "flag contexts default=", default="default", implicit=any_type),
            verb("explain", "flag context= default=", default="default", implicit=any_type),
            verb("choose", "flag context branches otherwise="),
            _verb("downhaul", "evaluate_all", "context=", bulk=ALL_FLAGS),
            verb("override", "values=", "values", several=True, keywords=True),
            verb("is_up", "switch", "switch", prefix="switch:"),
            verb("guarded_by", "switch otherwise=", "switch", prefix="switch:"),
        ],
        connect="Flags",
        aconnect="Flags",
        in_memory="Flags",
        over="Flags",
        with_context="Flags",
    )


def _launchdarkly() -> list[Kind]:
    def verb(name: str, parameters: str, *, default: str, distinct: bool = True) -> Verb:
        return _verb("launchdarkly", name, parameters, "key", default=default, distinct=distinct)

    stages = "key context default_stage payload="
    return [
        _kind(
            "LDClient",
            [
                verb("variation", "key context default", default="default", distinct=False),
                verb("variation_detail", "key context default", default="default"),
                verb("migration_variation", "key context default_stage", default="default_stage"),
                _verb("launchdarkly", "all_flags_state", "context", bulk=ALL_FLAGS, distinct=True),
            ],
        ),
        _kind(
            "Migrator", [verb(name, stages, default="default_stage") for name in ("read", "write")]
        ),
        _kind(
            "MigratorBuilder",
            build="Migrator",
            read="MigratorBuilder",
            write="MigratorBuilder",
            read_execution_order="MigratorBuilder",
            track_latency="MigratorBuilder",
            track_errors="MigratorBuilder",
        ),
    ]


def _split() -> list[Kind]:
    control = _implicit("control", excuse=True)
    verbs = []
    for suffix in ("", "_with_config"):
        for name, parameter, more in (
            (f"get_treatment{suffix}", "feature_flag_name", {}),
            (f"get_treatments{suffix}", "feature_flag_names", {"several": True}),
            (f"get_treatments{suffix}_by_flag_set", "flag_set", {"bulk": "flag set"}),
            (f"get_treatments{suffix}_by_flag_sets", "flag_sets", {"bulk": "flag sets"}),
        ):
            parameters = f"key {parameter} attributes= evaluation_options="
            key = None if "bulk" in more else parameter
            one = _verb("split", name, parameters, key, implicit=control, distinct=True, **more)
            verbs.append(one)
    return [_kind("SplitClient", verbs), _kind("SplitFactory", client="SplitClient")]


def _unleash() -> Kind:
    return _kind(
        "UnleashClient",
        [
            _verb(
                "unleash",
                "is_enabled",
                "feature_name context= fallback_function=",
                "feature_name",
                default="fallback_function",
                implicit=_implicit(False),
                calls_default=True,
            ),
            _verb(
                "unleash",
                "get_variant",
                "feature_name context=",
                "feature_name",
                implicit=_implicit("disabled", excuse=True),
            ),
        ],
    )


def _openfeature() -> Kind:
    after = "flag_key default_value evaluation_context= flag_evaluation_options="
    verbs = [
        _verb(
            "openfeature",
            f"get_{kind}_{answer}{style}",
            after,
            "flag_key",
            default="default_value",
            distinct=True,
        )
        for kind in ("boolean", "string", "integer", "float", "object")
        for answer in ("value", "details")
        for style in ("", "_async")
    ]
    verbs += [
        _verb(
            "openfeature",
            f"evaluate_flag_details{style}",
            f"flag_type {after}",
            "flag_key",
            default="default_value",
            distinct=True,
        )
        for style in ("", "_async")
    ]
    return _kind("OpenFeatureClient", verbs)


WAFFLES: Final[Mapping[str, Default]] = {
    sort: _implicit(None, f"WAFFLE_{sort.upper()}_DEFAULT") for sort in ("flag", "switch", "sample")
}
"""What django-waffle answers with where there is no such flag, switch or sample: a setting."""


def _waffle(sort: str, name: str, parameters: str, **more: Any) -> Verb:
    return _verb(
        "waffle", name, parameters, f"{sort}_name", implicit=WAFFLES[sort], distinct=True, **more
    )


def _waffle_functions() -> dict[tuple[str, str], Verb]:
    verbs = [
        _waffle("flag", "flag_is_active", "request flag_name read_only="),
        _waffle("switch", "switch_is_active", "switch_name"),
        _waffle("sample", "sample_is_active", "sample_name"),
        _waffle("flag", "waffle_flag", "flag_name redirect_to=", negatable=True),
        _waffle("switch", "waffle_switch", "switch_name redirect_to=", negatable=True),
    ]
    verbs += [
        _verb("waffle", f"override_{sort}", "name active", "name", distinct=True)
        for sort in WAFFLES
    ]
    return {("waffle", one.name): one for one in verbs}


def _waffle_models() -> list[Kind]:
    return [
        _kind(
            f"waffle.{sort.title()}",
            [_verb("waffle", "get", "name", "name", implicit=default, static=True)],
            objects="waffle.Objects",
        )
        for sort, default in WAFFLES.items()
    ]


def _every_kind() -> list[Kind]:
    objects = [_verb("waffle", name, "name", "name") for name in ("get", "create", "get_or_create")]
    return [
        _downhaul(),
        *_launchdarkly(),
        *_split(),
        _unleash(),
        _openfeature(),
        *_waffle_models(),
        _kind("waffle.Objects", objects),
    ]


KINDS: Final[Mapping[str, Kind]] = {kind.name: kind for kind in _every_kind()}

ROOTS: Final[Mapping[str, str]] = {
    "downhaul": "downhaul",
    "ldclient": "launchdarkly",
    "splitio": "split",
    "UnleashClient": "unleash",
    "openfeature": "openfeature",
    "waffle": "waffle",
}
"""The top-level package of each SDK."""

CLASSES: Final[Mapping[tuple[str, str], str]] = {
    ("downhaul", "Flags"): "Flags",
    ("downhaul", "FlagsFixture"): "Flags",
    ("ldclient", "LDClient"): "LDClient",
    ("ldclient", "AsyncLDClient"): "LDClient",
    ("ldclient", "Migrator"): "Migrator",
    ("ldclient", "AsyncMigrator"): "Migrator",
    ("ldclient", "MigratorBuilder"): "MigratorBuilder",
    ("ldclient", "AsyncMigratorBuilder"): "MigratorBuilder",
    ("splitio", "Client"): "SplitClient",
    ("splitio", "ClientAsync"): "SplitClient",
    ("splitio", "SplitFactory"): "SplitFactory",
    ("splitio", "SplitFactoryAsync"): "SplitFactory",
    ("UnleashClient", "UnleashClient"): "UnleashClient",
    ("UnleashClient", "AsyncUnleashClient"): "UnleashClient",
    ("openfeature", "OpenFeatureClient"): "OpenFeatureClient",
    **{("waffle", sort.title()): f"waffle.{sort.title()}" for sort in WAFFLES},
}
"""Classes by the top-level package and their own name, from whichever module they are imported."""

MAKERS: Final[Mapping[tuple[str, str], str]] = {
    ("ldclient", "get"): "LDClient",
    ("splitio", "get_factory"): "SplitFactory",
    ("splitio", "get_factory_async"): "SplitFactory",
    ("openfeature", "get_client"): "OpenFeatureClient",
    **{("waffle", f"get_waffle_{sort}_model"): f"waffle.{sort.title()}" for sort in WAFFLES},
}
"""Functions that return an instance of a kind."""

FUNCTIONS: Final[Mapping[tuple[str, str], Verb]] = _waffle_functions()

MIXINS: Final[Mapping[tuple[str, str], Verb]] = {
    ("waffle", f"Waffle{sort.title()}Mixin"): _waffle(
        sort, f"Waffle{sort.title()}Mixin", f"{sort}_name", negatable=True
    )
    for sort in WAFFLES
}
"""Classes whose class attribute (``waffle_flag``, ...) names a flag."""

MIXIN_ATTRIBUTES: Final[Mapping[str, Verb]] = {
    f"waffle_{(verb.key or '').removesuffix('_name')}": verb for verb in MIXINS.values()
}


EVERYDAY: Final = frozenset(
    {name for kind in KINDS.values() for name in kind.verbs} & {"read", "write", "get", "create"}
    | {"get_or_create", "override"}
)
"""Verbs that many things are called by: they count where the receiver is proven, and only there."""


def _by_name() -> dict[str, tuple[Verb, ...]]:
    found: dict[str, list[Verb]] = {}
    named = ("Flags", "LDClient", "SplitClient", "UnleashClient", "OpenFeatureClient")
    for name in named:
        for verb in KINDS[name].verbs.values():
            if verb.name not in EVERYDAY:
                found.setdefault(verb.name, []).append(verb)
    for verb in FUNCTIONS.values():
        found.setdefault(verb.name, []).append(verb)
    return {name: tuple(verbs) for name, verbs in found.items()}


VERBS: Final[Mapping[str, tuple[Verb, ...]]] = _by_name()
"""Verbs by name alone: for calls whose receiver is not known."""
