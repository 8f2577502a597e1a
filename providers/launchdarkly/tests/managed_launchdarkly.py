"""Providers with an admin token, and what they send, for several modules of tests."""

from downhaul_launchdarkly.admin import Admin
from downhaul_launchdarkly.api import Api
from downhaul_launchdarkly.provider import LaunchDarklyProvider
from downhaul_launchdarkly.session import Connection

from downhaul.config import Secret


def provider_of(service, *, portable=(), declared=None, deadline=10.0, token=None):
    """Return a provider that manages an emulated service."""
    api = Api(service.url, Secret(token or service.admin_token), service.project, deadline)
    connection = Connection(Secret(service.sdk_key), service.url, service.url, service.url)
    admin = Admin(api, service.environment, portable=frozenset(portable), declared=declared)
    return LaunchDarklyProvider(connection, admin)


def patches(service):
    """Return the patches that came."""
    return [one for one in service.requests if one.method == "PATCH"]
