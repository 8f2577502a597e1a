"""Write vendors.json: buckets as the vendors' own SDKs give them (rule E9).

    pip install launchdarkly-server-sdk splitio-client UnleashClient 'fcache<0.6'
    python tests/golden/make_vendor_vectors.py

They are frozen, as the vendors' users are.
"""

import json
import zlib
from pathlib import Path

from ldclient import Context
from ldclient.impl.evaluator_common import _bucket_context
from splitio.engine.splitters import Splitter
from splitio.models.splits import HashAlgorithm
from yggdrasil_engine.engine import UnleashEngine

KEYS = (
    *(f"user-{number}" for number in range(20)),
    "3f6c2b1e-9f0a-4d55-8a2e-0c6d7a1b9e10",
    "ana@example.org",
    "Zoë",
    "日本語",
    "🦊🦊",
    "12345",
    "x" * 300,
)
SEEDS = (0, 1, 467_569_525, -1_222_652_054, 2**31 - 1)
GROUPS = ("new_agent_version", "a:b", "日本")
VARIANT_SEED = 86_028_157  # what Unleash hashes variants with


def launchdarkly():
    for key in KEYS:
        context = Context.create(key)
        for flag, salt in (("new_agent_version", "8b1c"), ("f", ""), ("日本", "sält")):
            place = _bucket_context(None, context, "user", flag, salt, None)
            yield {"scheme": "launchdarkly", "salt": f"{flag}.{salt}", "key": key, "place": place}
        for seed in (0, 61, -5):
            place = _bucket_context(seed, context, "user", "f", "s", None)
            yield {"scheme": "launchdarkly", "salt": str(seed), "key": key, "place": place}


def split():
    for scheme, algorithm in (
        ("split", HashAlgorithm.MURMUR),
        ("split_legacy", HashAlgorithm.LEGACY),
    ):
        for key in KEYS:
            for seed in SEEDS:
                place = Splitter.get_bucket(key, seed, algorithm)
                yield {"scheme": scheme, "seed": seed, "total": 100, "key": key, "place": place}


def unleash():
    for group in GROUPS:
        engine = UnleashEngine()
        engine.take_state(json.dumps(_state(group)))
        for key in KEYS:
            context = {"userId": key}
            place = sum(not engine.is_enabled(f"below {n}", context).is_enabled for n in range(101))
            yield {"scheme": "unleash", "salt": group, "total": 100, "key": key, "place": place}
            place = int(engine.get_variant(group, context).variant.name)
            yield {
                "scheme": "unleash",
                "salt": group,
                "seed": VARIANT_SEED,
                "total": 1000,
                "key": key,
                "place": place,
            }


def flipper():
    """By the formula of Flipper's own gate (lib/flipper/gates/percentage_of_actors.rb)."""
    for feature in ("new_agent_version", "search", "日本"):
        for key in (*KEYS, "User;1"):
            for total in (100_000, 100):
                place = zlib.crc32(f"{feature}{key}".encode()) % total + 1
                yield {
                    "scheme": "flipper",
                    "salt": feature,
                    "total": total,
                    "key": key,
                    "place": place,
                }


def _state(group):
    """Return flags that open one percent after the other, and one with a thousand variants."""
    features = [
        {
            "name": f"below {percent}",
            "enabled": True,
            "strategies": [
                {
                    "name": "flexibleRollout",
                    "parameters": {
                        "groupId": group,
                        "rollout": str(percent),
                        "stickiness": "userId",
                    },
                }
            ],
        }
        for percent in range(101)
    ]
    variants = [
        {"name": str(number), "weight": 1, "weightType": "fix", "stickiness": "userId"}
        for number in range(1, 1001)
    ]
    features.append(
        {
            "name": group,
            "enabled": True,
            "strategies": [{"name": "default", "parameters": {}}],
            "variants": variants,
        }
    )
    return {"version": 2, "features": features}


def main():
    path = Path(__file__).with_name("vendors.json")
    vectors = [*launchdarkly(), *split(), *unleash(), *flipper()]
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in vectors)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
