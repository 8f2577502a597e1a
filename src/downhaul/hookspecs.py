"""What a plugin may implement: few hooks, for registration only.

A plugin is a thin module behind an entry point of the group ``downhaul``. The entry point's name
is the provider's name. The module imports nothing heavy: it says in a :class:`ProviderSpec` where
the provider is, and the provider's own imports wait until a configuration names it::

    from downhaul.hookspecs import ProviderSpec, hookimpl

    @hookimpl
    def downhaul_providers():
        return [ProviderSpec(name="acme", schemes=("acme",), factory="acme_flags.provider:create")]

A metric source is found in the same way, by an entry point of the group
``downhaul.metric_sources`` and a :class:`MetricSourceSpec`. One module may bring both.

No hook is ever called on the path of an evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pluggy

from downhaul.provider import Capability

PROJECT: Final = "downhaul"
"""The name of the entry point group, and of the project as pluggy knows it."""

METRIC_SOURCES: Final = "downhaul.metric_sources"
"""The name of the entry point group of metric sources."""

INTERFACE: Final = 1
"""The version of what stands between Downhaul and its plugins; raised when a plugin must change."""

hookspec: Final = pluggy.HookspecMarker(PROJECT)
hookimpl: Final = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """What Downhaul must know of a provider before it imports any of it.

    ``name`` is the entry point's name: lower case letters, digits and ``-``. ``schemes`` are the
    URL schemes it answers to; ``acme`` answers to ``acme+https`` too, ``acme+https`` only to
    itself. Everything else that is code is a dotted path, so that listing providers imports none
    of it:

    - ``factory``, ``module:callable``: takes :class:`downhaul.config.Settings`, returns a
      :class:`downhaul.provider.FlagProvider`, does no I/O. None for a plugin that only translates.
    - ``settings``, ``module:Model``: the pydantic model of what stands in ``[provider]`` beside
      ``url`` and ``wrap``. None passes it on unchecked.
    - ``translator``, a module with ``flags_from(document)`` and ``context_from(mapping)``; with
      ``document_of(flag_set)`` too where it also writes, which returns a ``ledger.Exported``.
    - ``commands``, ``module:group``: a click group for the command line.
    - ``contract``, ``module`` or ``module:TestClass``: the test classes that bind the contract of
      providers, which ``downhaul contract run`` runs.

    ``capabilities`` repeats what the provider declares, for whoever lists providers.
    ``install_hint`` is told where the factory cannot be imported (``pip install 'acme[driver]'``).
    ``interface`` is the version of this interface that the plugin was written for.
    """

    name: str
    schemes: tuple[str, ...]
    factory: str | None = None
    capabilities: frozenset[Capability] = frozenset()
    settings: str | None = None
    translator: str | None = None
    commands: str | None = None
    contract: str | None = None
    install_hint: str | None = None
    interface: int = 1


@hookspec
def downhaul_providers() -> list[ProviderSpec]:  # type: ignore[empty-body]
    """Return the providers that this plugin brings.

    Called once, when a provider of this plugin is asked for or all are listed. Where several entry
    points share a module, each takes the one spec that bears its name.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSourceSpec:
    """What Downhaul must know of a metric source before it imports any of it.

    ``name`` is the entry point's name, and what a plan writes as ``source`` in ``[metrics]``: lower
    case letters, digits and ``-``. Code is named by dotted paths, as in :class:`ProviderSpec`:

    - ``factory``, ``module:callable``: takes :class:`downhaul.analysis.settings.SourceSettings`,
      returns a :class:`downhaul.analysis.model.MetricSource`, does no I/O. What it finds wrong
      with the plan it raises as :class:`downhaul.errors.ConfigError`.
    - ``settings``, ``module:Model``: the pydantic model of what stands in ``[metrics]`` beside
      ``source``. Plans are checked by it when they are read. None passes the table on unchecked.

    ``install_hint`` is told where the factory cannot be imported (``pip install 'acme[metrics]'``).
    ``interface`` is the version of this interface that the plugin was written for.
    """

    name: str
    factory: str
    settings: str | None = None
    install_hint: str | None = None
    interface: int = 1


@hookspec
def downhaul_metric_sources() -> list[MetricSourceSpec]:  # type: ignore[empty-body]
    """Return the metric sources that this plugin brings.

    Called once, when a plan names one of this plugin or all are listed. Where several entry points
    share a module, each takes the one spec that bears its name.
    """
