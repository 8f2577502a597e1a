"""Flags in a file: followed while it changes, and the last good one kept."""

import tempfile
import threading
from pathlib import Path

from downhaul import Flags

path = Path(tempfile.mkdtemp()) / "flags.yaml"
GOOD = """
downhaul: 1
flags:
  - {key: new_checkout, on: true, default: %s}
"""
path.write_text(GOOD % "off")

with Flags.connect(f"file:{path}", cache_dir=False) as flags:
    print("at first:", flags.is_enabled("new_checkout"))
    changed = threading.Event()
    flags.on_change(lambda _keys: changed.set())
    path.write_text(GOOD % "on")
    changed.wait(5)
    print("changed:", flags.is_enabled("new_checkout"))

    path.write_text(GOOD % "onn")
    while flags.status().state != "STALE":
        changed.wait(0.05)
    print("refused:", flags.is_enabled("new_checkout"), flags.status().state)
    print("because:", "did you mean" in flags.status().provider.message)
