"""Who provides what: read by Downhaul to list providers, so it imports no SDK."""

from __future__ import annotations

from downhaul.hookspecs import ProviderSpec, hookimpl
from downhaul.provider import Capability


@hookimpl
def downhaul_providers() -> list[ProviderSpec]:
    """Return the provider for ``split:``, ``split+https:`` and ``split+file:`` URLs."""
    return [
        ProviderSpec(
            name="split",
            schemes=("split",),
            factory="downhaul_split.provider:create",
            settings="downhaul_split.settings:SplitSettings",
            translator="downhaul_split.translate",
            capabilities=frozenset(
                {
                    Capability.RESOLVE,
                    Capability.WATCH,
                    Capability.READ,
                    Capability.WRITE,
                    Capability.SNAPSHOT,
                }
            ),
            install_hint="pip install downhaul-split",
        )
    ]
