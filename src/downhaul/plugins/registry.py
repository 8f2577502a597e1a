"""Which plugin answers to a scheme: lazily, and with whatever is broken or contested set aside.

Listing names imports nothing. A scheme loads the one plugin that its first word names; only where
that fails are the others loaded. The thin module of a plugin is all that is ever imported here.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import ModuleType
from typing import Final

import pluggy

from downhaul import hookspecs
from downhaul._version import __version__
from downhaul.errors import ProviderNotFound
from downhaul.hookspecs import PROJECT, ProviderSpec
from downhaul.plugins.discovery import Claim, Distribution, claims, normal
from downhaul.plugins.known import BUILTIN, KNOWN, base_of
from downhaul.plugins.specs import flaw, why

ONLY: Final = "DOWNHAUL_PLUGINS"
DISABLED: Final = "DOWNHAUL_DISABLE_PLUGINS"

_CORE: Final = Distribution(PROJECT, __version__)
_log: Final = logging.getLogger("downhaul.plugins")


@dataclass(frozen=True, slots=True)
class Installed:
    """A provider as it is installed: its spec, or why there is none.

    ``problem`` without a spec: broken, or switched off (``disabled``). With one: some of its
    schemes belong to somebody else, and the others work.
    """

    name: str
    distribution: str
    version: str
    spec: ProviderSpec | None = None
    problem: str = ""
    disabled: bool = False


class Registry:
    """The plugins of one process.

    ``environ`` is read for ``DOWNHAUL_PLUGINS`` (load these only) and
    ``DOWNHAUL_DISABLE_PLUGINS``; both are comma-separated names of providers or distributions.
    ``path`` is searched for distributions, ``sys.path`` unless given. Safe to use from threads.
    """

    def __init__(
        self, environ: Mapping[str, str] | None = None, path: Sequence[str] | None = None
    ) -> None:
        environ = os.environ if environ is None else environ
        self._only = _names(environ.get(ONLY))
        self._disabled = _names(environ.get(DISABLED))
        self._off: list[Claim] = []
        self._claims: dict[str, list[Claim]] = {}
        self._loaded: dict[str, Installed] = {}
        self._lock = threading.RLock()
        self._plugins = pluggy.PluginManager(PROJECT)
        self._plugins.add_hookspecs(hookspecs)
        for claim in claims(path):
            if self._is_off(claim):
                self._off.append(claim)
            else:
                self._claims.setdefault(claim.name, []).append(claim)

    def names(self) -> list[str]:
        """Return the names of all providers that may be asked for. Imports no plugin."""
        return sorted({*BUILTIN, *self._claims})

    def installed(self) -> list[Installed]:
        """Return every provider, the broken ones with the reason. Loads the thin modules of all."""
        core = [Installed(one.name, PROJECT, __version__, one) for one in BUILTIN.values()]
        found = [self._with_contests(one) for name in self._claims for one in self._each(name)]
        off = [
            Installed(one.name, one.distribution.name, one.distribution.version, None, text, True)
            for one in self._off
            for text in (f"switched off by {DISABLED if self._named_off(one) else ONLY}",)
        ]
        return sorted([*core, *found, *off], key=lambda one: (one.name, one.distribution))

    def spec_for(self, scheme: str) -> ProviderSpec:
        """Return who answers to a URL scheme.

        Raises ProviderNotFound: nobody does (it says what is installed, what is known and how to
        install it), the plugin that should is broken, or two distributions claim the scheme.
        """
        scheme = scheme.lower()
        base = base_of(scheme)
        if base in BUILTIN:
            return self._builtin(base)
        if base in self._claims:
            own = self._load(base)
            if own.spec is None:
                raise _unusable(own)
            if _answers(own.spec, scheme):
                return own.spec
        answering = list(self._answering(scheme))
        if len(answering) > 1:
            both = " and ".join(f"{one.distribution} {one.version}" for one in answering)
            raise ProviderNotFound(
                f'two distributions answer to the scheme "{scheme}": {both}',
                hint=_remove_one(one.distribution for one in answering),
            )
        if not answering:
            raise self._nobody(scheme, base)
        spec = answering[0].spec
        assert spec is not None  # noqa: S101  (_answering yields no others)
        return spec

    def spec_named(self, name: str) -> ProviderSpec:
        """Return the provider of this name. Raises ProviderNotFound as :meth:`spec_for` does."""
        if name in BUILTIN:
            return self._builtin(name)
        if name not in self._claims:
            raise self._nobody(name, base_of(name))
        one = self._load(name)
        if one.spec is None:
            raise _unusable(one)
        return one.spec

    # Loading

    def _builtin(self, name: str) -> ProviderSpec:
        if name in self._claims:
            self._load(name)  # imports nothing: it warns of whoever claims our name
        return BUILTIN[name]

    def _each(self, name: str) -> list[Installed]:
        one = self._load(name)
        return [
            Installed(
                name, claim.distribution.name, claim.distribution.version, one.spec, one.problem
            )
            for claim in self._claims[name]
        ]

    def _load(self, name: str) -> Installed:
        with self._lock:
            if name not in self._loaded:
                one = self._loaded[name] = self._read(name)
                if one.problem:
                    _log.warning(
                        'provider "%s" of %s %s is not used: %s',
                        *(name, one.distribution, one.version, one.problem),
                    )
            return self._loaded[name]

    def _read(self, name: str) -> Installed:
        rivals = self._claims[name]
        where = rivals[0].distribution
        owners = [claim.distribution for claim in rivals]
        if name in BUILTIN:
            owners.append(_CORE)
        spec, problem = None, ""
        if len(owners) > 1:
            both = " and ".join(map(str, owners))
            problem = f'two distributions claim the provider name "{name}": {both}'
        else:
            spec, problem = self._spec_of(rivals[0])
        return Installed(name, where.name, where.version, spec, problem)

    def _spec_of(self, claim: Claim) -> tuple[ProviderSpec | None, str]:
        if claim.entry_point is None or claim.problem:
            return None, claim.problem
        try:
            specs = self._ask(claim.entry_point.load())
        except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever a plugin does, others live)
            return None, why(error)
        problem = flaw(specs, claim.name)
        if problem:
            return None, problem
        return next(one for one in specs if one.name == claim.name), ""

    def _ask(self, module: ModuleType) -> list[ProviderSpec]:
        hook = self._plugins.hook.downhaul_providers
        if not self._plugins.is_registered(module):
            self._plugins.register(module)
        others = [one for one in self._plugins.get_plugins() if one is not module]
        caller = self._plugins.subset_hook_caller(hook.name, others)
        answers: list[list[ProviderSpec]] = caller()
        if not answers:
            message = "it implements no downhaul_providers (is the function marked @hookimpl?)"
            raise LookupError(message)
        return answers[0]

    # Who answers

    def _answering(self, scheme: str) -> Iterator[Installed]:
        for name in self._claims:
            one = self._load(name)
            if one.spec is not None and _answers(one.spec, scheme):
                yield one

    def _with_contests(self, one: Installed) -> Installed:
        if one.spec is None:
            return one
        contests = [
            f'the scheme "{scheme}" is also claimed by {other}'
            for scheme in one.spec.schemes
            for other in self._owners(scheme, one.name)
        ]
        if not contests:
            return one
        return Installed(one.name, one.distribution, one.version, one.spec, "; ".join(contests))

    def _owners(self, scheme: str, but: str) -> list[Distribution]:
        if base_of(scheme) in BUILTIN:
            return [_CORE]
        return [
            Distribution(other.distribution, other.version)
            for other in self._answering(scheme)
            if other.name != but
        ]

    def _nobody(self, scheme: str, base: str) -> ProviderNotFound:
        message = f'no installed provider answers to the scheme "{scheme}"'
        every = self.installed()
        unusable = [one for one in every if one.name == base and one.spec is None]
        if unusable:
            return _unusable(unusable[0])
        if base in self._claims:
            spec = self.spec_named(base)
            hint = f'"{base}" answers to: {", ".join(spec.schemes)}'
            return ProviderNotFound(message, hint=hint, provider=base)
        if base in KNOWN:
            return ProviderNotFound(message, hint=KNOWN[base].install, provider=base)
        near = get_close_matches(base, sorted({*self.names(), *KNOWN}), n=1)
        parts = [f'did you mean "{near[0]}"?'] if near else []
        if base in ("http", "https"):
            parts = [f"say whose server it is, as in unleash+{base}://"]
        parts.append(f"installed: {', '.join(one.name for one in every if one.spec is not None)}")
        missing = [one for one in KNOWN.values() if one.name not in self._claims]
        if missing:
            parts.append(f"known: {', '.join(f'{one.name} ({one.install})' for one in missing)}")
        return ProviderNotFound(message, hint="; ".join(parts))

    # Switched off

    def _is_off(self, claim: Claim) -> bool:
        return self._named_off(claim) or (bool(self._only) and not _matches(claim, self._only))

    def _named_off(self, claim: Claim) -> bool:
        return _matches(claim, self._disabled)


def _names(text: str | None) -> frozenset[str]:
    return frozenset(normal(part.strip()) for part in (text or "").split(",") if part.strip())


def _matches(claim: Claim, names: frozenset[str]) -> bool:
    return not names.isdisjoint({normal(claim.name), normal(claim.distribution.name)})


def _answers(spec: ProviderSpec, scheme: str) -> bool:
    return not {scheme, scheme.partition("+")[0]}.isdisjoint(spec.schemes)


def _remove_one(distributions: Iterator[str]) -> str:
    return f"uninstall one of them, or set {DISABLED}={max(distributions)}"


def _unusable(one: Installed) -> ProviderNotFound:
    if one.disabled or one.problem.startswith("two distributions"):
        fix = f"uninstall one of them, or name its distribution in {DISABLED}"
        hint = "take it out of that variable" if one.disabled else fix
        return ProviderNotFound(
            f'provider "{one.name}": {one.problem}', hint=hint, provider=one.name
        )
    return ProviderNotFound(
        f'provider "{one.name}" of {one.distribution} {one.version} cannot be used: {one.problem}',
        hint=f"upgrade or reinstall {one.distribution}",
        provider=one.name,
    )


@cache
def registry() -> Registry:
    """Return this process's registry; ``registry.cache_clear()`` has the next call look again."""
    return Registry()


def installed() -> list[Installed]:
    """Return every provider that is installed, the broken ones with the reason."""
    return registry().installed()


def spec_for(scheme: str) -> ProviderSpec:
    """Return who answers to a URL scheme. Raises ProviderNotFound, which says what to install."""
    return registry().spec_for(scheme)


def spec_named(name: str) -> ProviderSpec:
    """Return the provider of this name. Raises ProviderNotFound, which says what to install."""
    return registry().spec_named(name)
