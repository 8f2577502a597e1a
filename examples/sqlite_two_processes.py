"""Two processes on one SQLite file: what an operator kills in one, the other stops serving."""

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from downhaul import Flags

folder = Path(tempfile.mkdtemp())
os.environ |= {"DOWNHAUL_URL": f"sqlite:///{folder}/flags.db", "DOWNHAUL_CACHE_DIR": str(folder)}


def downhaul(*words: str) -> None:
    """Run the command line in a process of its own, as an operator would."""
    command = [sys.executable, "-m", "downhaul", *words, "--actor", "ana"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  (words of ours)


downhaul("flags", "create", "new_agent_version", "--on")
with Flags.connect() as flags:
    print("created:", flags.is_enabled("new_agent_version", "user-1"))
    heard = threading.Event()
    flags.on_change(lambda keys: (print("changed:", *sorted(keys)), heard.set()))
    downhaul("kill", "new_agent_version", "--reason", "refund loop")
    heard.wait(5)
    result = flags.evaluate("new_agent_version", "user-1", default=True)
    print("killed:", result.value, result.metadata["kill"]["reason"])

# The machine remembers, even if the store is gone.
(folder / "flags.db").unlink()
with Flags.connect(ready_within=1) as flags:
    print(
        "without the store:", flags.status().state, flags.is_enabled("new_agent_version", "u", True)
    )
