"""What 10,000 flags cost: memory, the time until they decide, and the time of one change."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rounds import HERE


def run(
    urls: Mapping[int, str],
    runs: int,
    environment: Mapping[str, str],
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Return what stores of 1 and of many flags cost. ``urls`` are by number of flags."""
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(runs):
        for count, url in urls.items():
            for way in ("memory", "traced", "payload"):
                progress(f"{count} flags: {way}, {number + 1} of {runs}")
                found.setdefault(f"{way} {count}", []).append(_ask(way, url, environment))
    few, many = min(urls), max(urls)

    def middle(way: str, count: int, name: str) -> float:
        return statistics.median(one[name] for one in found[f"{way} {count}"])

    def least(way: str, count: int, name: str) -> float:
        return min(one[name] for one in found[f"{way} {count}"])

    def added(way: str, name: str) -> float:
        return round(middle(way, many, name) - middle(way, few, name), 1)

    return {
        "flags": many,
        "runs": runs,
        "resident_mb": added("memory", "loaded_mb"),
        "resident_asked_mb": added("memory", "asked_mb"),
        "resident_evaluated_mb": added("memory", "evaluated_mb"),
        "traced_mb": added("traced", "loaded_mb"),
        "traced_asked_mb": added("traced", "asked_mb"),
        "traced_evaluated_mb": added("traced", "evaluated_mb"),
        "ready_s": round(least("payload", many, "ready_s"), 3),
        "each_asked_s": round(least("payload", many, "each_asked_s"), 3),
        "connect_s": round(least("memory", many, "connect_s"), 3),
        "change_us": {str(n): round(least("payload", n, "change_us"), 1) for n in urls},
        "kill_us": {str(n): round(least("payload", n, "kill_us"), 1) for n in urls},
    }


def _ask(way: str, url: str, environment: Mapping[str, str]) -> dict[str, Any]:
    said = subprocess.run(
        [sys.executable, str(HERE / "loading.py"), way, url],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    if said.returncode:
        raise RuntimeError(said.stderr)
    answer: dict[str, Any] = json.loads(said.stdout)
    return answer
