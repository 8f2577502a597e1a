"""The same application on every backend: which one it is, says one line of downhaul.toml."""

import subprocess
import sys
import time
from pathlib import Path

from downhaul import Flag, Flags

KEY = "new_agent_version"
USERS = [f"user-{number}" for number in range(2_000)]
WITHOUT_ANY = f"""\
[provider]
url = "sqlite:///flags.db"

[flags.{KEY}]
rollout = "portable"  # the same users on every backend
"""

if not Path("downhaul.toml").exists():
    Path("downhaul.toml").write_text(WITHOUT_ANY, encoding="utf-8")
    upgrade = [sys.executable, "-m", "downhaul", "db", "upgrade"]
    subprocess.run(upgrade, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  (words of ours)


def served() -> list[str]:
    """Return who gets the new version now."""
    return [user for user in USERS if flags.is_enabled(KEY, user)]


def after(change: str, before: list[str]) -> list[str]:
    """Wait until a change is heard, which takes a second where an SDK polls; say who is served."""
    until = time.monotonic() + 20
    now, again = before, served()
    while (again == before or again != now) and time.monotonic() < until:
        time.sleep(0.05)  # until it is heard, and not in the middle of asking
        now, again = again, served()
    kept = len(set(before) & set(now))
    who = f"{len(now)} users, the first {', '.join(now[:3])}" if now else "nobody"
    if before:
        who += f"; of the {len(before)} who had it before, {kept} have it"
    print(f"{change}: {who}")
    return now


with Flags.connect(ready_within=20) as flags, flags.operator("ana") as operator:
    operator.create(Flag.boolean(KEY, percent=0))
    now = served()
    for percent in (0.5, 2.5, 25):
        operator.percent(KEY, percent, reason=f"step to {percent:g} %")
        now = after(f"{percent:g} %", now)
    operator.kill(KEY, reason="refund loop")
    now = after("killed", now)
    print("answered then:", flags.evaluate(KEY, "user-3", default=True).value)
    operator.revive(KEY, reason="fixed")
    operator.on(KEY, reason="fixed")  # where kills are kept elsewhere, it was switched off too
    after("revived, at 1 %", now)
