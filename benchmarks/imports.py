"""What importing costs: processor time of fresh interpreters, over one that does nothing."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

_OURS = "from downhaul import Flags, Context"
_BARE = "pass"
_OTHERS = {
    "downhaul, connecting to a file": (
        "from downhaul import Flags, Context; Flags.connect('file:///nowhere.yaml', ready_within=0)"
    ),
    "eppo-server-sdk": "import eppo_client",
    "openfeature-sdk": "from openfeature import api",
    "launchdarkly-server-sdk": "import ldclient",
    "UnleashClient": "import UnleashClient",
    "splitio-client": "import splitio",
}
HEAVY = (
    *("pydantic", "click", "pluggy", "sqlalchemy", "psycopg", "asyncio"),
    *("starlette", "fastapi", "flask", "django", "aiohttp", "uvicorn"),
    *("ldclient", "splitio", "UnleashClient", "eppo_client", "openfeature"),
    *("alembic", "requests", "rich", "yaml"),
)
"""Modules that asking for flags must not bring in."""


def run(runs: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Return milliseconds of processor time (user and system) over the bare interpreter."""
    taken: dict[str, list[float]] = {_BARE: [], _OURS: []}
    for code in taken:
        _milliseconds(code)  # writes the byte code, if need be
    for number in range(runs):
        progress(f"import {number + 1} of {runs}")
        for code, found in taken.items():
            found.append(_milliseconds(code))
    bare, ours = taken[_BARE], taken[_OURS]
    return {
        "statement": _OURS,
        "runs": runs,
        "interpreter_ms": round(min(bare), 1),
        "best_ms": round(min(ours) - min(bare), 1),
        "median_ms": round(statistics.median(ours) - statistics.median(bare), 1),
        "heavy_modules": _heavy(),
        "others_ms": _others(min(bare), max(3, runs // 5)),
    }


def _others(bare: float, runs: int) -> dict[str, float | str]:
    found: dict[str, float | str] = {}
    for name, code in _OTHERS.items():
        try:
            found[name] = round(min(_milliseconds(code) for _ in range(runs)) - bare, 1)
        except OSError:
            found[name] = "absent"
    return found


def _milliseconds(code: str) -> float:
    """Return the processor time of one fresh interpreter. Raises OSError where the code fails."""
    silent = [(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
    process = os.posix_spawn(
        sys.executable, [sys.executable, "-c", code], os.environ, file_actions=silent
    )
    _, status, used = os.wait4(process, 0)
    if status:
        raise OSError(code)
    return (used.ru_utime + used.ru_stime) * 1000


def _heavy() -> list[str]:
    code = f"{_OURS}; import json, sys; print(json.dumps(sorted(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return [name for name in HEAVY if name in json.loads(said.stdout)]
