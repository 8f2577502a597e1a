"""The providers that the core brings, and those it knows of and can say how to install."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from downhaul.hookspecs import ProviderSpec
from downhaul.provider import Capability

_WHOLE: Final = frozenset(
    {
        Capability.FLAG_SET,
        Capability.READ,
        Capability.WRITE,
        Capability.SEGMENTS,
        Capability.COMPARE_AND_SET,
        Capability.HISTORY,
        Capability.SNAPSHOT,
        Capability.WATCH,
    }
)

_BINDINGS: Final = "downhaul_contract_tests.bindings"
_TEAMS: Final = f"{_BINDINGS}_in_house"
_FOLLOWED: Final = frozenset({Capability.FLAG_SET, Capability.READ, Capability.WATCH})
_IN_HOUSE: Final = "downhaul.backends.inhouse"
_AROUND: Final = frozenset({"flipper", "plain", "table", "waffle"})
"""In-house schemes whose second word says where the flags are: ``table+sqlite``."""


def _in_databases(name: str) -> tuple[str, ...]:
    return tuple(f"{name}+{database}" for database in ("sqlite", "postgresql", "postgres"))


BUILTIN: Final[Mapping[str, ProviderSpec]] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            ProviderSpec(
                name="env",
                schemes=("env",),
                factory=f"{_IN_HOUSE}.environment:create",
                settings=f"{_IN_HOUSE}.options:EnvironmentOptions",
                capabilities=frozenset({Capability.FLAG_SET, Capability.READ}),
                contract=f"{_TEAMS}:TestEnvironment",
            ),
            ProviderSpec(
                name="file",
                schemes=("file",),
                factory="downhaul.backends.file:create",
                settings="downhaul.config.builtin:PolledOptions",
                capabilities=_FOLLOWED,
                contract=f"{_BINDINGS}:TestFile",
            ),
            ProviderSpec(
                name="flagd",
                schemes=("flagd",),
                translator="downhaul.documents.flagd",
            ),
            ProviderSpec(
                name="flipper",
                schemes=_in_databases("flipper"),
                factory=f"{_IN_HOUSE}.flipper:create",
                settings=f"{_IN_HOUSE}.options:FlipperOptions",
                capabilities=_FOLLOWED,
                contract=f"{_TEAMS}:TestFlipper",
            ),
            ProviderSpec(
                name="memory",
                schemes=("memory",),
                factory="downhaul.backends.memory:create",
                settings="downhaul.config.builtin:NoOptions",
                capabilities=_WHOLE,
                contract=f"{_BINDINGS}:TestMemory",
            ),
            ProviderSpec(
                name="plain",
                schemes=("plain+file",),
                factory=f"{_IN_HOUSE}.plain:create",
                settings=f"{_IN_HOUSE}.options:PlainOptions",
                capabilities=_FOLLOWED,
                contract=f"{_TEAMS}:TestPlain",
            ),
            ProviderSpec(
                name="sqlite",
                schemes=("sqlite",),
                factory="downhaul.backends.sqlite:create",
                settings="downhaul.config.builtin:PolledOptions",
                capabilities=_WHOLE,
                contract=f"{_BINDINGS}:TestSqlite",
            ),
            ProviderSpec(
                name="table",
                schemes=_in_databases("table"),
                factory=f"{_IN_HOUSE}.table:create",
                settings=f"{_IN_HOUSE}.options:TableOptions",
                capabilities=_FOLLOWED,
                contract=f"{_TEAMS}:TestTable",
            ),
            ProviderSpec(
                name="waffle",
                schemes=_in_databases("waffle"),
                factory=f"{_IN_HOUSE}.waffle:create",
                settings=f"{_IN_HOUSE}.options:WaffleOptions",
                capabilities=_FOLLOWED,
                contract=f"{_TEAMS}:TestWaffle",
            ),
        )
    }
)
"""Providers of the core, by name. No plugin can take a name, or a scheme that begins with it.

flagd's only translates documents."""


@dataclass(frozen=True, slots=True)
class Known:
    """A provider that can be installed. ``package`` is what pip calls it."""

    name: str
    package: str
    aliases: tuple[str, ...] = ()

    @property
    def install(self) -> str:
        """Return the command that installs it."""
        return f"pip install {self.package}"


KNOWN: Final[Mapping[str, Known]] = MappingProxyType(
    {
        one.name: one
        for one in (
            Known("launchdarkly", "downhaul-launchdarkly"),
            Known("openfeature", "downhaul-openfeature"),
            Known("postgresql", "downhaul-postgres", aliases=("postgres",)),
            Known("split", "downhaul-split"),
            Known("unleash", "downhaul-unleash"),
        )
    }
)


@dataclass(frozen=True, slots=True)
class KnownWrapper:
    """A provider made of a provider. ``factory`` takes that, the wrapper's table, and Settings.

    ``settings`` is the pydantic model of the table, ``contract`` what binds the contract, around
    memory. All are ``module:name``. ``backends`` are the keys of the table that name a backend, by
    a URL or a table shaped as ``[provider]``; ``mixes`` says that one which publishes rules and one
    which decides by itself make a pair.
    """

    name: str
    factory: str
    settings: str
    contract: str
    backends: tuple[str, ...] = ()
    mixes: bool = False


WRAPPERS: Final[Mapping[str, KnownWrapper]] = MappingProxyType(
    {
        name: KnownWrapper(
            name,
            f"downhaul.wrappers.{name}:create",
            f"downhaul.wrappers.{name}:{word}Settings",
            f"{_BINDINGS}:Test{word}",
            backends,
            mixes=mixes,
        )
        for name, word, backends, mixes in (
            ("dual_write", "DualWrite", ("to",), True),
            ("failover", "Failover", ("to",), False),
            ("read_only", "ReadOnly", (), False),
            ("recording", "Recording", (), False),
            ("shadow", "Shadow", ("to",), True),
            ("staged", "Staged", ("to",), True),
        )
    }
)
"""What ``[provider] wrap`` may name."""


def base_of(scheme: str) -> str:
    """Return whose scheme this is by its first word: ``unleash+https`` is of ``unleash``."""
    word = scheme.lower().partition("+")[0]
    return next((one.name for one in KNOWN.values() if word in one.aliases), word)


def reached_by(scheme: str) -> str:
    """Return the scheme that says where flags are: ``sqlite`` of ``table+sqlite``, else itself."""
    first, _, rest = scheme.lower().partition("+")
    return rest if rest and first in _AROUND else scheme.lower()
