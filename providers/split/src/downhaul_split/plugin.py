"""Who provides what: read by Downhaul to list providers, so it imports no SDK."""

from __future__ import annotations

from downhaul.hookspecs import ProviderSpec, hookimpl


@hookimpl
def downhaul_providers() -> list[ProviderSpec]:
    """Return the one provider of this distribution."""
    return [ProviderSpec(name="split", schemes=("split",))]
