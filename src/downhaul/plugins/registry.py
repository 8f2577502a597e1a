"""Which plugin answers to a scheme: lazily, and with whatever is broken or contested set aside.

A scheme loads the one plugin that its first word names; only where that fails are the others
loaded. What providers share with other kinds of plugins is in :mod:`downhaul.plugins.shelf`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from typing import Final

from downhaul.errors import ProviderNotFound
from downhaul.hookspecs import PROJECT, ProviderSpec
from downhaul.plugins.discovery import Distribution
from downhaul.plugins.known import BUILTIN, KNOWN, base_of, reached_by
from downhaul.plugins.shelf import CORE, DISABLED, ONLY, Kind, Shelf, how_to_settle
from downhaul.plugins.shelf import Installed as InstalledPlugin
from downhaul.plugins.specs import flaw

__all__ = [
    "DISABLED",
    "ONLY",
    "Installed",
    "Registry",
    "installed",
    "registry",
    "spec_for",
    "spec_named",
]

Installed = InstalledPlugin[ProviderSpec]
"""A provider as it is installed."""

_PROVIDERS: Final = Kind("provider", PROJECT, "downhaul_providers", flaw, BUILTIN)


class Registry(Shelf[ProviderSpec]):
    """The providers of one process, by name and by the schemes that they answer to."""

    def __init__(
        self, environ: Mapping[str, str] | None = None, path: Sequence[str] | None = None
    ) -> None:
        super().__init__(_PROVIDERS, environ, path)

    def installed(self) -> list[Installed]:
        """Return every provider, the broken ones with the reason. Loads the thin modules of all."""
        return [
            one if one.distribution == PROJECT else self._with_contests(one)
            for one in super().installed()
        ]

    def spec_for(self, scheme: str) -> ProviderSpec:
        """Return who answers to a URL scheme.

        Raises ProviderNotFound: nobody does (it says what is installed, what is known and how to
        install it), the plugin that should is broken, or two distributions claim the scheme.
        """
        scheme = scheme.lower()
        base = base_of(scheme)
        if base in BUILTIN:
            return self._of_the_core(scheme, base)
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

    # Who answers

    def _of_the_core(self, scheme: str, base: str) -> ProviderSpec:
        spec = self._builtin(base)
        if not _answers(spec, scheme):
            raise self._nobody(scheme, base)
        if (place := reached_by(scheme)) != scheme:
            self.spec_for(place)  # who drives the database, which may have to be installed
        return spec

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
        return replace(one, problem="; ".join(contests))

    def _owners(self, scheme: str, but: str) -> list[Distribution]:
        if base_of(scheme) in BUILTIN:
            return [CORE]
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
        if base in self._claims or base in BUILTIN:
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


def _answers(spec: ProviderSpec, scheme: str) -> bool:
    return not {scheme, scheme.partition("+")[0]}.isdisjoint(spec.schemes)


def _remove_one(distributions: Iterator[str]) -> str:
    return f"uninstall one of them, or set {DISABLED}={max(distributions)}"


def _unusable(one: Installed) -> ProviderNotFound:
    message, hint = how_to_settle(one, _PROVIDERS.word)
    return ProviderNotFound(message, hint=hint, provider=one.name)


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
