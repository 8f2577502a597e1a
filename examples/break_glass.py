"""Kill without a network: a file on this machine, which every process here watches."""

import tempfile
import time
from pathlib import Path

from downhaul import Flags

folder = Path(tempfile.mkdtemp())
(folder / "flags.json").write_text(
    '{"downhaul": 1, "flags": [{"key": "new_checkout", "on": true, "default": "on"}]}'
)
kill_file = folder / "kill"


def until(wanted: bool) -> str:
    """Wait until the flag answers so."""
    begun = time.monotonic()
    while flags.is_enabled("new_checkout") is not wanted:
        time.sleep(0.01)
    return "within a second" if time.monotonic() - begun < 1 else "late"


settings = {
    "control": {"kill_file": str(kill_file)},
    "provider": {"url": f"file:{folder}/flags.json"},
}
with Flags.connect(settings, cache_dir=str(folder)) as flags:
    print("before:", flags.is_enabled("new_checkout"))
    kill_file.write_text("new_checkout  # by hand, in an emergency\n")
    print("killed", until(wanted=False))
    kill_file.unlink()
    print("without the file:", flags.is_enabled("new_checkout"))
    kill_file.write_text("revive:new_checkout\n")
    print("revived", until(wanted=True))
