"""One portable percentage, and the same twenty thousand users on four evaluators that aren't ours.

LaunchDarkly's, Split's and Unleash's own SDKs, and our evaluator on PostgreSQL, each set by its own
``set_rollout`` and asked through ``Flags``.
"""

import time

import pytest
from downhaul_emulators import LaunchDarklyEmulator
from downhaul_emulators.launchdarkly import boolean as launchdarkly_boolean
from downhaul_emulators.split import SplitEmulator
from downhaul_emulators.split import boolean as split_boolean
from downhaul_launchdarkly.admin import Admin as LaunchDarklyAdmin
from downhaul_launchdarkly.api import Api as LaunchDarklyApi
from downhaul_launchdarkly.provider import LaunchDarklyProvider
from downhaul_launchdarkly.session import Connection as LaunchDarklyConnection
from downhaul_postgres.connection import database_at
from downhaul_postgres.provider import PostgresProvider
from downhaul_split.admin import Admin as SplitAdmin
from downhaul_split.api import Place, api_of
from downhaul_split.provider import SplitProvider
from downhaul_split.session import Connection as SplitConnection
from downhaul_unleash.admin import Admin as UnleashAdmin
from downhaul_unleash.api import Api as UnleashApi
from downhaul_unleash.provider import UnleashProvider
from downhaul_unleash.session import Connection as UnleashConnection
from fixtures_unleash import ADMIN_TOKEN, BACKEND_TOKEN

from downhaul import Flags
from downhaul.config import Declaration, RolloutMode, Secret
from downhaul.evaluator.bucketing import bucket
from downhaul.flag import Flag
from downhaul.provider import Change
from downhaul.store import schema

ANA = Change("ana", "the same users everywhere")
KEY = "same-users"
PORTABLE = frozenset({KEY})
DECLARED = {KEY: Declaration(rollout=RolloutMode.PORTABLE)}
USERS = [f"user-{number}" for number in range(20_000)]
WEIGHTS = (100, 2_500, 25_000, 99_999)  # 0.1, 2.5, 25 and 99.999 %

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("unleash")]


def launchdarkly(service):
    api = LaunchDarklyApi(service.url, Secret(service.admin_token), service.project, 10.0)
    connection = LaunchDarklyConnection(
        Secret(service.sdk_key), service.url, service.url, service.url
    )
    admin = LaunchDarklyAdmin(api, service.environment, portable=PORTABLE, declared=DECLARED)
    return LaunchDarklyProvider(connection, admin)


def split(service):
    api = api_of(service.admin_url, Secret(service.admin_token), 10.0)
    place = Place(service.workspace, service.environment, "user")
    connection = SplitConnection(
        Secret(service.sdk_key),
        service.sdk_url,
        service.events_url,
        service.auth_url,
        service.streaming_url,
        service.telemetry_url,
        refresh=1,
    )
    return SplitProvider(connection, SplitAdmin(api, place, portable=PORTABLE, declared=DECLARED))


def unleash_of(server):
    connection = UnleashConnection(
        server.url, Secret(BACKEND_TOKEN), environment="development", refresh=0.2
    )
    api = UnleashApi(server.url, Secret(ADMIN_TOKEN))
    admin = UnleashAdmin(api, "default", "development", portable=PORTABLE, declared=DECLARED)
    return UnleashProvider(connection, admin=admin, declared=DECLARED)


@pytest.fixture
def providers(unleash, fresh_postgres):
    with (
        LaunchDarklyEmulator() as at_launchdarkly,
        SplitEmulator() as at_split,
    ):
        at_launchdarkly.put(launchdarkly_boolean(KEY, percent=0))
        at_split.put(KEY, split_boolean(percent=0))
        at_unleash = unleash_of(unleash)
        at_unleash.put(Flag.boolean(KEY, percent=0), ANA)
        database = database_at(fresh_postgres, "postgresql://the-test-s-own", None, str)
        schema.upgrade(database)
        ours = PostgresProvider(database, "default")
        ours.put(Flag.boolean(KEY, percent=0), ANA)
        yield {
            "launchdarkly": launchdarkly(at_launchdarkly),
            "split": split(at_split),
            "unleash": at_unleash,
            "postgresql": ours,
        }
        at_unleash.delete(KEY, ANA)


def served(flags, wanted):
    """Return who is served, once it is who should be, or fifteen seconds are over."""
    until = time.monotonic() + 15
    while (found := {user for user in USERS if flags.is_enabled(KEY, user)}) != wanted:
        if time.monotonic() > until:
            break
        time.sleep(0.2)  # what was written is under way
    return found


@pytest.mark.rule("E10", "E7")
def test_a_portable_percentage_serves_the_same_users_on_four_evaluators_and_raising_loses_none(
    providers,
):
    clients = {
        name: Flags.over(one, declarations=DECLARED, ready_within=20)
        for name, one in providers.items()
    }
    before = dict.fromkeys(clients, frozenset())
    try:
        for weight in WEIGHTS:
            wanted = {user for user in USERS if bucket(KEY, user) < weight}
            for name, flags in clients.items():
                providers[name].set_rollout(KEY, "on", weight, ANA)
                found = served(flags, wanted)
                assert len(found ^ wanted) == 0, (name, weight)
                assert before[name] <= found, (name, weight)
                before[name] = found
    finally:
        for flags in clients.values():
            flags.close()
