"""What Downhaul must know of this provider before it imports any of it."""

from __future__ import annotations

from downhaul.hookspecs import ProviderSpec, hookimpl
from downhaul.provider import Capability


@hookimpl
def downhaul_providers() -> list[ProviderSpec]:
    """Return the provider for ``openfeature:`` and ``openfeature+NAME:`` URLs."""
    return [
        ProviderSpec(
            name="openfeature",
            schemes=("openfeature",),
            factory="downhaul_openfeature.provider:create",
            settings="downhaul_openfeature.settings:OpenFeatureSettings",
            capabilities=frozenset({Capability.RESOLVE, Capability.WATCH}),
            install_hint="pip install downhaul-openfeature",
        )
    ]
