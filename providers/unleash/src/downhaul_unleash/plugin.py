"""Who provides what: read by Downhaul to list providers, so it imports none of the translator."""

from __future__ import annotations

from downhaul.hookspecs import ProviderSpec, hookimpl


@hookimpl
def downhaul_providers() -> list[ProviderSpec]:
    """Return the one provider of this distribution, which translates and evaluates nothing yet."""
    return [
        ProviderSpec(
            name="unleash",
            schemes=("unleash",),
            translator="downhaul_unleash.translate",
        )
    ]
