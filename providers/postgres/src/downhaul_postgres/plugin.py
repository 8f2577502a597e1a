"""What Downhaul must know of this provider before it imports any of it."""

from downhaul.hookspecs import ProviderSpec, hookimpl
from downhaul.provider import Capability


@hookimpl
def downhaul_providers() -> list[ProviderSpec]:
    """Return the provider for ``postgresql:`` URLs."""
    return [
        ProviderSpec(
            name="postgresql",
            schemes=("postgresql", "postgres"),
            factory="downhaul_postgres.provider:create",
            settings="downhaul_postgres.settings:Options",
            capabilities=frozenset(Capability) - {Capability.RESOLVE},
            contract="downhaul_postgres.contract",
            install_hint="pip install downhaul-postgres",
        )
    ]
