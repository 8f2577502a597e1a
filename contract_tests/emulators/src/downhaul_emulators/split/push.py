"""The stream on which SDKs hear of changes: tokens, channels, messages."""

from __future__ import annotations

import base64
import itertools
import json
import time
import zlib
from collections.abc import Mapping
from typing import Any, Final

from downhaul_emulators.serving import Stream
from downhaul_emulators.split.account import Environment

_OCCUPANCY: Final = "[?occupancy=metrics.publishers]"
_CONTROLS: Final = ("control_pri", "control_sec")
_ids: Final = itertools.count(1)


class Channel(Stream):
    """A stream of one environment's messages. The first comes after ``latency`` seconds.

    As no network is faster than the SDK's own threads, the SDK begins to wait for that message only
    after it has connected; one that is there before wakes nobody, and its start hangs.
    """

    def __init__(self, environment: Environment, latency: float) -> None:
        super().__init__()
        self.environment = environment
        self._latency = latency

    def next(self) -> str | None:
        """Return the next text to send, a comment if nothing happened; None at the end."""
        latency, self._latency = self._latency, 0.0
        time.sleep(latency)
        return super().next()


def channels_of(environment: Environment) -> dict[str, list[str]]:
    """Return the channels of an environment's SDKs, and what they may do on each."""
    watched = ["subscribe", "channel-metadata:publishers"]
    return {
        f"{environment.id}_splits": ["subscribe"],
        f"{environment.id}_segments": ["subscribe"],
        **dict.fromkeys(_CONTROLS, watched),
    }


def token_of(environment: Environment, lifetime: int) -> str:
    """Return a token of the shape that SDKs read, valid for so many seconds. It signs nothing."""
    now = int(time.time())
    payload = {
        "x-ably-capability": json.dumps(channels_of(environment)),
        "x-ably-clientId": "emulated",
        "iat": now,
        "exp": now + lifetime,
    }
    parts = ({"alg": "HS256", "typ": "JWT"}, payload, f"signature {next(_ids)}")
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).decode() for one in parts)


def update(
    environment: Environment,
    message: Mapping[str, Any],
    document: Mapping[str, Any] | None,
    *,
    inline: bool,
) -> dict[str, Any]:
    """Return a change as the stream carries it; ``inline`` sends the changed document along."""
    told = dict(message)
    if inline and document is not None:
        raw = zlib.compress(json.dumps(document).encode())
        told |= {"c": 2, "d": base64.b64encode(raw).decode()}
    else:
        told.pop("pcn", None)
    kind = "segments" if message["type"] == "SEGMENT_UPDATE" else "splits"
    return _envelope(f"{environment.id}_{kind}", told)


def control(kind: str) -> dict[str, Any]:
    """Return an order to SDKs: STREAMING_ENABLED, STREAMING_PAUSED or STREAMING_DISABLED."""
    return _envelope(_CONTROLS[0], {"type": "CONTROL", "controlType": kind})


def occupancy(publishers: int) -> list[dict[str, Any]]:
    """Return what tells SDKs how many publishers there are; without any they poll."""
    metrics = {"metrics": {"publishers": publishers}}
    return [
        {**_envelope(_OCCUPANCY + one, metrics), "name": "[meta]occupancy"} for one in _CONTROLS
    ]


def failure(code: int) -> dict[str, Any]:
    """Return an error of the stream itself. From 40140 to 40149 SDKs come back with a new token."""
    status = code // 100
    return {"code": code, "statusCode": status, "message": "emulated", "href": "emulated"}


def _envelope(channel: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"emulated:{next(_ids)}:0",
        "clientId": "emulated",
        "channel": channel,
        "timestamp": time.time_ns() // 1_000_000,
        "encoding": "json",
        "data": json.dumps(data),
    }
