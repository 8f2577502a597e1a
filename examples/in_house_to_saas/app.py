"""An application under traffic, which notes every answer that is another than it was before.

python app.py FLAG... reads `downhaul.toml` in its folder. It prints a line of JSON each second: how
many answers it had, and which of them changed. SIGTERM ends it.
"""

import json
import random
import signal
import sys
import time

from downhaul import Flags

USERS = [f"user-{number}" for number in range(200)]


def serve(flags: Flags, keys: list[str]) -> None:
    """Ask for a flag for somebody, again and again, and tell of it once a second."""
    before: dict[tuple[str, str], object] = {}
    stopped = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    dice = random.Random(7)  # noqa: S311  (who visits next)
    asked, changed, told = 0, [], time.monotonic()
    while not stopped:
        key, user = dice.choice(keys), dice.choice(USERS)
        answer = flags.evaluate(key, user, default=None)
        asked += 1
        known = before.setdefault((key, user), answer.value)
        if known != answer.value:
            changed.append([key, user, known, answer.value, answer.provider])
            before[key, user] = answer.value
        if time.monotonic() - told > 1:
            print(json.dumps({"asked": asked, "changed": changed}), flush=True)
            asked, changed, told = 0, [], time.monotonic()
    print(json.dumps({"asked": asked, "changed": changed}), flush=True)


if __name__ == "__main__":
    with Flags.connect(ready_within=30) as client:
        serve(client, sys.argv[1:])
