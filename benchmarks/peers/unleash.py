"""Unleash's client (its engine is Rust, behind ctypes and JSON), from a payload in memory."""

from __future__ import annotations

import json
from typing import Any

import case
from contestant import Measure, Prepared
from UnleashClient import UnleashClient
from UnleashClient.cache import BaseCache
from UnleashClient.constants import FEATURES_URL


class _Cache(BaseCache):
    bootstrapped = True

    def __init__(self, payload: str) -> None:
        self._known: dict[str, Any] = {FEATURES_URL: payload}

    def set(self, key: str, value: Any) -> None:
        self._known[key] = value

    def mset(self, data: dict[str, Any]) -> None:
        self._known.update(data)

    def get(self, key: str, default: Any = None) -> Any:
        return self._known.get(key, default)

    def exists(self, key: str) -> bool:
        return key in self._known

    def destroy(self) -> None:
        self._known.clear()


def prepare() -> Prepared:
    """Load the flags, and make the contexts beforehand. Asks no server."""
    payload = json.dumps({"version": 2, "features": [_flag(one) for one in case.flags()]})
    client = UnleashClient(
        "http://127.0.0.1:9/api",
        "benchmark",
        cache=_Cache(payload),
        disable_metrics=True,
        disable_registration=True,
    )
    client.initialize_client(fetch_toggles=False)
    contexts = [{"userId": user} for user in case.USERS]
    flag = case.FLAG

    def run() -> None:
        for context in contexts:
            client.is_enabled(flag, context)

    return Prepared(
        {"case": Measure(run, len(contexts))},
        lambda: [client.is_enabled(flag, context) for context in contexts],
        "UnleashClient",
    )


def _flag(plain: case.Plain) -> dict[str, object]:
    targets = {"contextName": "userId", "operator": "IN", "values": list(plain.targets)}
    rollout = {"rollout": str(plain.percent), "stickiness": "userId", "groupId": plain.key}
    return {
        "name": plain.key,
        "type": "release",
        "enabled": plain.on,
        "strategies": [
            {"name": "default", "parameters": {}, "constraints": [targets]},
            {"name": "flexibleRollout", "parameters": rollout, "constraints": []},
        ],
    }
