"""Write native.json: buckets of rule E6 as flagd's own ``fractional`` gives them.

    python tests/golden/make_native_vectors.py

They are frozen: a difference after running this means that somebody's users would move.
"""

import json
from pathlib import Path

from openfeature.contrib.tools.flagd.core.targeting.custom_ops import fractional

TEXTS = (
    ("user-1", 1),
    ("a", 1),
    ("bc", 1),
    ("ab", 1),
    ("c", 1),
    (" ", 1),
    ("\0", 1),
    ("3f6c2b1e-9f0a-4d55-8a2e-0c6d7a1b9e10", 1),
    ("ana@example.org", 1),
    ("日本語", 1),
    ("Zoë", 1),
    ("Zoe\u0308", 1),
    ("🦊", 3),
    # One on each side of every head that CBOR writes for a text: 23, 255, 65535 bytes.
    *(("x", times) for times in (22, 23, 24, 255, 256, 65_535, 65_536)),
    ("é", 12),
    ("é", 128),
    ("é", 32_768),
)
SALTS = (("new_agent_version", 1), ("", 1), ("ab", 1), ("s", 24), ("日", 100), ("s", 65_536))


def bucket(salt, key, total=100_000):
    """Return the bucket in which flagd puts a key: the last edge that is not above it."""
    asked = {"targetingKey": key, "$flagd": {"flagKey": salt}}
    low, high = 0, total - 1
    while low < high:
        edge = (low + high + 1) // 2
        if fractional(asked, ["below", edge], ["above", total - edge]) == "above":
            low = edge
        else:
            high = edge - 1
    return low


def main():
    vectors = [
        {"salt": salt, "key": key, "bucket": bucket(salt[0] * salt[1], key[0] * key[1])}
        for salt in SALTS
        for key in TEXTS
    ]
    path = Path(__file__).with_name("native.json")
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in vectors)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
