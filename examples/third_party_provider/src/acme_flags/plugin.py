"""What Downhaul must know of this provider before it imports any of it."""

from downhaul.hookspecs import ProviderSpec, hookimpl
from downhaul.provider import Capability

CAPABILITIES = frozenset(
    {
        Capability.FLAG_SET,
        Capability.READ,
        Capability.WRITE,
        Capability.SEGMENTS,
        Capability.COMPARE_AND_SET,
        Capability.SNAPSHOT,
        Capability.WATCH,
    }
)


@hookimpl
def downhaul_providers() -> list[ProviderSpec]:
    """Return the provider for ``acme+http:`` and ``acme+https:`` URLs."""
    return [
        ProviderSpec(
            name="acme",
            schemes=("acme",),
            factory="acme_flags.provider:create",
            settings="acme_flags.settings:AcmeSettings",
            contract="acme_flags.contract",
            capabilities=CAPABILITIES,
        )
    ]
