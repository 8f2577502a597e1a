"""Who provides what: read by Downhaul to list providers, so it imports no SDK."""

from __future__ import annotations

from downhaul.hookspecs import ProviderSpec, hookimpl
from downhaul.provider import Capability


@hookimpl
def downhaul_providers() -> list[ProviderSpec]:
    """Return the provider for ``launchdarkly:``, ``launchdarkly+https:`` and ``…+file:`` URLs."""
    return [
        ProviderSpec(
            name="launchdarkly",
            schemes=("launchdarkly",),
            factory="downhaul_launchdarkly.provider:create",
            settings="downhaul_launchdarkly.settings:LaunchDarklySettings",
            translator="downhaul_launchdarkly.translate",
            capabilities=frozenset(
                {
                    Capability.RESOLVE,
                    Capability.WATCH,
                    Capability.READ,
                    Capability.WRITE,
                    Capability.SEGMENTS,
                    Capability.COMPARE_AND_SET,
                    Capability.SNAPSHOT,
                }
            ),
            install_hint="pip install downhaul-launchdarkly",
        )
    ]
