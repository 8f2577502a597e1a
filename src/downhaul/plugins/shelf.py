"""Plugins of one kind, by the name of their entry point: lazily, and the broken set aside.

Listing names imports nothing; a name loads the one plugin that bears it. The thin module of a
plugin is all that is ever imported here.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, Generic, Protocol, TypeVar

import pluggy

from downhaul import hookspecs
from downhaul._version import __version__
from downhaul.hookspecs import PROJECT
from downhaul.plugins.discovery import Claim, Distribution, claims, normal
from downhaul.plugins.specs import why

ONLY: Final = "DOWNHAUL_PLUGINS"
DISABLED: Final = "DOWNHAUL_DISABLE_PLUGINS"

CORE: Final = Distribution(PROJECT, __version__)
_log: Final = logging.getLogger("downhaul.plugins")


class Spec(Protocol):
    """What every kind of plugin says of itself, beside what only its kind does."""

    @property
    def name(self) -> str:
        """The name of the entry point."""


S_co = TypeVar("S_co", bound=Spec, covariant=True)
S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)  # no slots: what is frozen with them can't be made by its generic name
class Installed(Generic[S_co]):
    """A plugin as it is installed: its spec, or why there is none.

    ``problem`` without a spec: broken, or switched off (``disabled``). With one: some of what it
    claims belongs to somebody else, and the rest works.
    """

    name: str
    distribution: str
    version: str
    spec: S_co | None = None
    problem: str = ""
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Kind(Generic[S]):
    """A kind of plugin. ``word`` is what messages call one.

    ``group`` is the group of entry points, ``hook`` the hook that returns specs, ``flaw`` says why
    what a hook returned can't serve an entry point. ``builtin`` are the core's own.
    """

    word: str
    group: str
    hook: str
    flaw: Callable[[Any, str], str]
    builtin: Mapping[str, S]


class Shelf(Generic[S]):
    """The plugins of one kind in one process.

    ``environ`` is read for ``DOWNHAUL_PLUGINS`` (load these only) and
    ``DOWNHAUL_DISABLE_PLUGINS``; both are comma-separated names of plugins or distributions.
    ``path`` is searched for distributions, ``sys.path`` unless given. Safe to use from threads.
    """

    def __init__(
        self,
        kind: Kind[S],
        environ: Mapping[str, str] | None = None,
        path: Sequence[str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self._kind = kind
        self._only = _names(environ.get(ONLY))
        self._disabled = _names(environ.get(DISABLED))
        self._off: list[Claim] = []
        self._claims: dict[str, list[Claim]] = {}
        self._loaded: dict[str, Installed[S]] = {}
        self._lock = threading.RLock()
        self._plugins = pluggy.PluginManager(PROJECT)
        self._plugins.add_hookspecs(hookspecs)
        for claim in claims(path, kind.group):
            if self._is_off(claim):
                self._off.append(claim)
            else:
                self._claims.setdefault(claim.name, []).append(claim)

    def names(self) -> list[str]:
        """Return all names that may be asked for. Imports no plugin."""
        return sorted({*self._kind.builtin, *self._claims})

    def installed(self) -> list[Installed[S]]:
        """Return every plugin, the broken ones with the reason. Loads the thin modules of all."""
        core = [
            Installed(one.name, PROJECT, __version__, one) for one in self._kind.builtin.values()
        ]
        found = [one for name in self._claims for one in self._each(name)]
        off = [self._switched_off(one) for one in self._off]
        return sorted([*core, *found, *off], key=lambda one: (one.name, one.distribution))

    # Loading

    def _builtin(self, name: str) -> S:
        if name in self._claims:
            self._load(name)  # imports nothing: it warns of whoever claims our name
        return self._kind.builtin[name]

    def _each(self, name: str) -> list[Installed[S]]:
        one = self._load(name)
        return [
            Installed(
                name, claim.distribution.name, claim.distribution.version, one.spec, one.problem
            )
            for claim in self._claims[name]
        ]

    def _load(self, name: str) -> Installed[S]:
        with self._lock:
            if name not in self._loaded:
                one = self._loaded[name] = self._read(name)
                if one.problem:
                    _log.warning(
                        '%s "%s" of %s %s is not used: %s',
                        *(self._kind.word, name, one.distribution, one.version, one.problem),
                    )
            return self._loaded[name]

    def _read(self, name: str) -> Installed[S]:
        rivals = self._claims[name]
        where = rivals[0].distribution
        owners = [claim.distribution for claim in rivals]
        if name in self._kind.builtin:
            owners.append(CORE)
        spec, problem = None, ""
        if len(owners) > 1:
            both = " and ".join(map(str, owners))
            problem = f'two distributions claim the {self._kind.word} name "{name}": {both}'
        else:
            spec, problem = self._spec_of(rivals[0])
        return Installed(name, where.name, where.version, spec, problem)

    def _spec_of(self, claim: Claim) -> tuple[S | None, str]:
        if claim.entry_point is None or claim.problem:
            return None, claim.problem
        try:
            specs = self._ask(claim.entry_point.load())
        except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever a plugin does, others live)
            return None, why(error)
        problem = self._kind.flaw(specs, claim.name)
        if problem:
            return None, problem
        return next(one for one in specs if one.name == claim.name), ""

    def _ask(self, module: ModuleType) -> list[S]:
        if not self._plugins.is_registered(module):
            self._plugins.register(module)
        others = [one for one in self._plugins.get_plugins() if one is not module]
        caller = self._plugins.subset_hook_caller(self._kind.hook, others)
        answers: list[list[S]] = caller()
        if not answers:
            message = f"it implements no {self._kind.hook} (is the function marked @hookimpl?)"
            raise LookupError(message)
        return answers[0]

    # Switched off

    def _switched_off(self, claim: Claim) -> Installed[S]:
        where = claim.distribution
        problem = f"switched off by {DISABLED if self._named_off(claim) else ONLY}"
        return Installed(claim.name, where.name, where.version, None, problem, disabled=True)

    def _is_off(self, claim: Claim) -> bool:
        return self._named_off(claim) or (bool(self._only) and not _matches(claim, self._only))

    def _named_off(self, claim: Claim) -> bool:
        return _matches(claim, self._disabled)


def how_to_settle(one: Installed[Any], word: str) -> tuple[str, str]:
    """Return what is told of a plugin that can't be used, and what to do about it."""
    if one.disabled or one.problem.startswith("two distributions"):
        fix = f"uninstall one of them, or name its distribution in {DISABLED}"
        hint = "take it out of that variable" if one.disabled else fix
        return f'{word} "{one.name}": {one.problem}', hint
    where = f"{one.distribution} {one.version}"
    message = f'{word} "{one.name}" of {where} cannot be used: {one.problem}'
    return message, f"upgrade or reinstall {one.distribution}"


def _names(text: str | None) -> frozenset[str]:
    return frozenset(normal(part.strip()) for part in (text or "").split(",") if part.strip())


def _matches(claim: Claim, names: frozenset[str]) -> bool:
    return not names.isdisjoint({normal(claim.name), normal(claim.distribution.name)})
