"""Two backends: the second answers while the first is away, and never a mixture of both."""

import json
import tempfile
import time
from pathlib import Path

from downhaul import Flags


def write(path: Path, key: str) -> None:
    """Write a document with one flag."""
    path.write_text(json.dumps({"downhaul": 1, "flags": [{"key": key, "default": "on"}]}))


folder = Path(tempfile.mkdtemp())
write(folder / "second.json", "from_the_second")
(folder / "downhaul.toml").write_text(
    """
    [provider]
    url = "file:first.json"
    wrap = ["failover"]

    [provider.failover]
    to = "file:second.json"
    after = 0.2
    back = 0.2
    """
)


def wait_for(flags: Flags, key: str) -> None:
    """Wait until a flag is served, half a minute at most."""
    until = time.monotonic() + 30
    while key not in flags.evaluate_all("ada") and time.monotonic() < until:
        time.sleep(0.02)
    print(sorted(flags.evaluate_all("ada")), flags.status().state)


with Flags.connect(file=folder / "downhaul.toml", ready_within=0) as flags:
    wait_for(flags, "from_the_second")  # the first file is not there yet
    write(folder / "first.json", "from_the_first")
    wait_for(flags, "from_the_first")
