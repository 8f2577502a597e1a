"""What Downhaul costs above each vendor's own SDK, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rounds import HERE


def run(
    rounds: int, environment: Mapping[str, str], progress: Callable[[str], None]
) -> dict[str, Any]:
    """Return the figures by vendor and way of rolling out; ``absent`` where an SDK is missing."""
    progress("above the vendors' SDKs")
    said = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "over_sdks.py"), str(rounds), "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    if said.returncode:
        last = said.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        if last[0].startswith("ModuleNotFoundError"):
            return {"absent": last[0]}
        raise RuntimeError(said.stderr)
    found: dict[str, Any] = json.loads(said.stdout)
    return found
