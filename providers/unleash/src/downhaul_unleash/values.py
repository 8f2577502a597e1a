"""The values of a flag's variants as the variants of strategies."""

from __future__ import annotations

import json
from typing import Any, Final

from downhaul.flag import Flag, FlagKind, Split
from downhaul_unleash.hashes import DEFAULT, Hashed

_WHOLE: Final = 1_000
_PAYLOADS: Final = {
    FlagKind.STRING: "string",
    FlagKind.NUMBER: "number",
    FlagKind.OBJECT: "json",
}


def weighted(
    flag: Flag, serve: str | Split, hashed: Hashed | None = None, *, everything: bool = False
) -> list[dict[str, Any]]:
    """Return the variants of a strategy that serves something; with ``everything``, all values.

    The server fits the weights of those that are ``variable``: one is, and it fits already.
    """
    weights = {serve: _WHOLE} if isinstance(serve, str) else _weights(serve)
    names = sorted(flag.variants if everything else weights)
    heaviest = max(names, key=lambda name: weights.get(name, 0))
    return [
        {
            "name": name,
            "weight": weights.get(name, 0),
            "weightType": "variable" if name == heaviest else "fix",
            "stickiness": DEFAULT if hashed is None else hashed.stickiness,
            "payload": {
                "type": _PAYLOADS[flag.kind],
                "value": _text(flag.kind, flag.variants[name]),
            },
        }
        for name in names
    ]


def _weights(split: Split) -> dict[str, int]:
    return {str(one.variant): one.weight for one in split.weights}


def _text(kind: FlagKind, value: Any) -> str:
    return str(value) if kind is FlagKind.STRING else json.dumps(value, ensure_ascii=False)
