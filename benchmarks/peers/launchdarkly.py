"""LaunchDarkly's SDK for servers, from a store in memory, sending no events."""

from __future__ import annotations

import case
from contestant import Measure, Prepared
from ldclient import Context, LDClient
from ldclient.config import Config
from ldclient.feature_store import InMemoryFeatureStore
from ldclient.versioned_data_kind import FEATURES, SEGMENTS


def prepare() -> Prepared:
    """Load the flags, and make the contexts beforehand."""
    store = InMemoryFeatureStore()
    store.init({FEATURES: {one.key: _flag(one) for one in case.flags()}, SEGMENTS: {}})
    client = LDClient(Config("benchmark", feature_store=store, use_ldd=True, send_events=False))
    contexts = [Context.create(user) for user in case.USERS]
    flag = case.FLAG

    def run() -> None:
        for context in contexts:
            client.variation(flag, context, False)

    return Prepared(
        {"case": Measure(run, len(contexts))},
        lambda: [client.variation(flag, context, False) for context in contexts],
        "launchdarkly-server-sdk",
    )


def _flag(plain: case.Plain) -> dict[str, object]:
    weight = plain.percent * 1000
    return {
        "key": plain.key,
        "version": 1,
        "on": plain.on,
        "salt": plain.key,
        "variations": [True, False],
        "offVariation": 1,
        "targets": [{"variation": 0, "values": list(plain.targets)}],
        "rules": [],
        "prerequisites": [],
        "fallthrough": {
            "rollout": {
                "variations": [
                    {"variation": 0, "weight": weight},
                    {"variation": 1, "weight": 100_000 - weight},
                ]
            }
        },
    }
