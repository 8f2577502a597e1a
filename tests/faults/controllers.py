"""Controllers in processes of their own, each killed or stopped by itself at a point of a tick.

Run as a program, this forks one for each line of orders that it reads, before it ever opened a
database. :class:`Controllers` is the other end: it says what became of each.
"""

import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Place:
    """Where a controller works: ``flags`` is another store than ``control``'s, or the same.

    Or a vendor: then it is the table ``[provider]`` of a configuration.
    """

    flags: str | dict[str, Any]
    control: str
    environment: str

    @property
    def shared(self) -> bool:
        return self.flags == self.control


class Controllers:
    """Begins controllers, and waits for them to stop or to end."""

    def __init__(self) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(_TESTS)},
        )
        self._left: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._left:
            os.kill(pid, signal.SIGKILL)
        self._program.communicate(timeout=20)

    def begin(self, place: Place, **order: Any) -> int:
        """Begin a controller. See :func:`_work` for the orders. Returns the process's id."""
        pid = int(self._say({"begin": dataclasses.asdict(place), **order})["pid"])
        self._left.add(pid)
        return pid

    def wait(self, pid: int) -> dict[str, Any]:
        """Wait until it stops or ends: ``stopped``, ``killed`` (signals) or ``ended`` (a code).

        One that ended tells what it ``did``: acts, claims, losses and errors of its ticks.
        """
        said = self._say({"wait": pid})
        if "stopped" not in said:
            self._left.discard(pid)
        return said

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.wait(pid)

    def wake(self, pid: int) -> dict[str, Any]:
        """Let a stopped one go on, and wait for its end."""
        os.kill(pid, signal.SIGCONT)
        return self.wait(pid)

    def _say(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps(order) + "\n")
        self._program.stdin.flush()
        answer: dict[str, Any] = json.loads(self._program.stdout.readline())
        return answer


def _serve() -> None:
    pipes: dict[int, int] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            pid = order["wait"]
            _, status = os.waitpid(pid, os.WUNTRACED)
            said = _status(status)
            if "stopped" not in said:
                with os.fdopen(pipes.pop(pid)) as told:
                    said["did"] = json.loads(told.read() or "null")
        else:
            out, into = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(out)
                try:
                    os.write(into, json.dumps(_work(order)).encode())
                    os._exit(0)
                finally:
                    os._exit(1)
            os.close(into)
            pipes[pid] = out
            said = {"pid": pid}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


def _status(status: int) -> dict[str, Any]:
    if os.WIFSTOPPED(status):
        return {"stopped": os.WSTOPSIG(status)}
    if os.WIFSIGNALED(status):
        return {"killed": os.WTERMSIG(status)}
    return {"ended": os.WEXITSTATUS(status)}


def _work(order: dict[str, Any]) -> dict[str, Any]:
    """Tick as ordered.

    ``at`` and ``signal``: the point to be hit at, and with what, the ``nth`` time that it is come
    by. ``ticks``: how many; with ``until_done``, until no rollout is live. ``skew``: by how many
    seconds this host's clock is wrong. ``batch``: how many it claims at once. ``requests``: count
    those of the log. ``idle``: how long PostgreSQL waits for a transaction that is stopped.
    """
    from rollout_world import World

    if skew := order.get("skew"):
        right = time.time
        time.time = lambda: right() + skew
    world = World.at(Place(**order["begin"]))
    database = world.control.rollouts.database
    if idle := order.get("idle"):
        was = "session_timeout', '10s'"
        limits = tuple(
            one.replace(was, f"session_timeout', '{idle}'") for one in database.dialect.limits
        )
        patient = dataclasses.replace(database.dialect, limits=limits)
        object.__setattr__(database, "dialect", patient)
    if order.get("requests"):
        world.count_requests()
    passed = 0

    def at(name: str, _rollout: str) -> None:
        nonlocal passed
        if name == order.get("at"):
            passed += 1
            if passed == order.get("nth", 1):
                os.kill(os.getpid(), order["signal"])

    options = {name: order[name] for name in ("batch",) if name in order}
    controller = world.another(f"child-{os.getpid()}", points=at, **options)
    did: dict[str, Any] = {"claimed": 0, "acted": 0, "lost": 0, "errors": []}
    left = order.get("ticks", 1)
    while left > 0:
        report = controller.tick()
        for name in ("claimed", "acted", "lost", "errors"):
            did[name] += list(report.errors) if name == "errors" else getattr(report, name)
        if order.get("until_done"):
            left = len(world.store.newest(live=True, limit=1))
            time.sleep(0.002)
        else:
            left -= 1
    return did


if __name__ == "__main__":
    # What a controller needs is imported once, and not by every one of them.
    for name in (
        "downhaul.analysis.requests_source",
        "downhaul.backends.sqlite",
        "downhaul.rollout.lint",
        "downhaul_postgres.provider",
        "rollout_world",
    ):
        importlib.import_module(name)
    _serve()
