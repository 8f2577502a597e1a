"""What Downhaul must know of this provider before it imports any of it."""

from __future__ import annotations

from downhaul.hookspecs import ProviderSpec, hookimpl
from downhaul.provider import Capability


@hookimpl
def downhaul_providers() -> list[ProviderSpec]:
    """Return the provider for ``unleash+https:``, ``unleash+http:`` and ``unleash+file:`` URLs."""
    return [
        ProviderSpec(
            name="unleash",
            schemes=("unleash",),
            factory="downhaul_unleash.provider:create",
            settings="downhaul_unleash.settings:UnleashSettings",
            translator="downhaul_unleash.translate",
            capabilities=frozenset(
                {
                    Capability.RESOLVE,
                    Capability.WATCH,
                    Capability.READ,
                    Capability.WRITE,
                    Capability.SNAPSHOT,
                }
            ),
            install_hint="pip install downhaul-unleash",
        )
    ]
