"""Split's SDK (Harness FME) in its localhost mode, from a file. Its hash is pure Python."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import case
from contestant import Measure, Prepared
from splitio import get_factory


def prepare() -> Prepared:
    """Load the flags."""
    changes = {
        "ff": {"d": [_flag(one) for one in case.flags()], "s": -1, "t": 1},
        "rbs": {"d": [], "s": -1, "t": 1},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "splits.json"
        path.write_text(json.dumps(changes))
        factory = get_factory("localhost", config={"splitFile": str(path)})
        factory.block_until_ready(60)
    client = factory.client()
    users, flag = case.USERS, case.FLAG

    def run() -> None:
        for user in users:
            client.get_treatment(user, flag)

    return Prepared(
        {"case": Measure(run, len(users))},
        lambda: [client.get_treatment(user, flag) == "on" for user in users],
        "splitio-client",
    )


def _flag(plain: case.Plain) -> dict[str, object]:
    return {
        "name": plain.key,
        "trafficTypeName": "user",
        "trafficAllocation": 100,
        "trafficAllocationSeed": 1,
        "seed": 7,
        "status": "ACTIVE",
        "killed": not plain.on,
        "defaultTreatment": "off",
        "changeNumber": 1,
        "algo": 2,
        "configurations": {},
        "sets": [],
        "conditions": [
            _condition("WHITELIST", _matcher(list(plain.targets)), 100),
            _condition("ROLLOUT", _matcher(None), plain.percent),
        ],
    }


def _condition(kind: str, matcher: dict[str, object], on: int) -> dict[str, object]:
    return {
        "conditionType": kind,
        "label": kind.lower(),
        "matcherGroup": {"combiner": "AND", "matchers": [matcher]},
        "partitions": [
            {"treatment": "on", "size": on},
            {"treatment": "off", "size": 100 - on},
        ],
    }


def _matcher(keys: list[str] | None) -> dict[str, object]:
    named = None if keys is None else {"whitelist": keys}
    return {
        "matcherType": "ALL_KEYS" if keys is None else "WHITELIST",
        "negate": False,
        "keySelector": {"trafficType": "user", "attribute": None},
        "userDefinedSegmentMatcherData": None,
        "whitelistMatcherData": named,
    }
