"""Flags as the real engine decides by them: written by us, served without a server."""

import json
from contextlib import contextmanager

from downhaul_unleash.composing import composed
from downhaul_unleash.needing import dependencies_of
from downhaul_unleash.provider import UnleashProvider
from downhaul_unleash.session import Connection

from downhaul import Flags

_NOT_SERVED = ("title", "sortOrder", "said", "id")


def feature_of(flag, others=()):
    """What a server tells its SDKs of a flag that was put there."""
    known = {one.key: one for one in others}
    strategies = [
        {name: value for name, value in one.items() if name not in _NOT_SERVED}
        for one in composed(flag)
    ]
    return {
        "name": flag.key,
        "enabled": flag.on,
        "type": flag.type.value.replace("_", "-"),
        "strategies": strategies,
        "dependencies": dependencies_of(flag, known.get),
    }


def payload_of(flags):
    """What a server answers at /api/client/features that has these flags."""
    return {"version": 2, "features": [feature_of(one, flags) for one in flags], "segments": []}


@contextmanager
def asked_of_the_engine(flags, **fields):
    """A client that asks Unleash's own engine for these flags."""
    payload = json.dumps(payload_of(flags))
    made = UnleashProvider(Connection("payload", None, bootstrap=payload, **fields))
    with Flags.over(made, ready_within=5) as client:
        yield client
