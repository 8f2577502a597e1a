"""How long a kill takes, on each backend, from the operator's call to false in another process.

Two processes: this one kills, another one follows and answers. Beside LaunchDarkly, Split and
Unleash the kill lives in a control store on PostgreSQL (on SQLite where no PostgreSQL is
installed); the vendor is told after that, and what the follower hears first counts. LaunchDarkly
and Split are emulated, Unleash is its real server. Kills come at random moments. Prints p50, p99
and the longest in milliseconds, and the time of the commit alone.

    python benchmarks/kill_latency.py [--kills N] [--only sqlite,postgresql,...] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, Self

from propagation import percentiles
from stores import PROBE, fill, postgres, sqlite_url

from downhaul import Change, Flag, Flags
from downhaul.config import resolve
from downhaul.control.service import connect_operator
from downhaul.overlay import Scope
from downhaul.provider import ABSENT

Table = Mapping[str, Any]
Backend = Callable[[str], AbstractContextManager[Table]]

_LIMIT: Final = 30.0  # seconds for any one change to arrive
_PAUSE: Final = 0.2  # seconds, at most, of chance between two kills
_USER: Final = "user-1"
_WHO: Final = Change("benchmark")
_TESTS: Final = Path(__file__).resolve().parents[1] / "tests"


class Follower:
    """The other process."""

    def __init__(self, settings: Table) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, "--follow", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def until(self, decision: bool) -> int:
        """Return when it answered this next, in nanoseconds of the clock that both share."""
        assert self._process.stdout is not None
        timer = threading.Timer(_LIMIT, self._process.kill)
        timer.start()
        try:
            for line in self._process.stdout:
                at, said = line.split()
                if (said == b"1") is decision:
                    return int(at)
        finally:
            timer.cancel()
        message = f"the following process did not answer {decision} within {_LIMIT:g} s"
        raise RuntimeError(message)


@contextmanager
def sqlite(_control: str) -> Iterator[Table]:
    """Give a file with flags and kills."""
    with tempfile.TemporaryDirectory(prefix="downhaul-kills-") as folder:
        url = sqlite_url(Path(folder), "flags")
        fill(url, 0)
        yield {"provider": {"url": url}}


@contextmanager
def postgresql(control: str) -> Iterator[Table]:
    """Give a server with flags and kills."""
    fill(control, 0)
    yield {"provider": {"url": control}}


@contextmanager
def launchdarkly(control: str) -> Iterator[Table]:
    """Give the emulated service, with the kills beside it."""
    from downhaul_emulators.offered import OFFERED

    with OFFERED["launchdarkly"].make("127.0.0.1", 0) as service:
        service.put(OFFERED["launchdarkly"].said(Flag.boolean(PROBE)))
        table = OFFERED["launchdarkly"].settings_of(service)
        yield {"provider": table, "control": {"url": control}}


@contextmanager
def split(control: str) -> Iterator[Table]:
    """Give the emulated service, with the kills beside it."""
    from downhaul_emulators.offered import OFFERED

    with OFFERED["split"].make("127.0.0.1", 0) as service:
        service.put(PROBE, OFFERED["split"].said(Flag.boolean(PROBE)))
        table = OFFERED["split"].settings_of(service)
        yield {"provider": table, "control": {"url": control}}


@contextmanager
def unleash(control: str) -> Iterator[Table]:
    """Give a real server of Unleash, as the tests run it, with the kills beside it."""
    sys.path.insert(0, str(_TESTS))
    import fixtures_unleash as real

    server = real.UnleashServer(Path(tempfile.mkdtemp(prefix="downhaul-unleash-")))
    try:
        server.start()
        table = {
            "url": f"unleash+{server.url}",
            "token": real.BACKEND_TOKEN,
            "admin_token": real.ADMIN_TOKEN,
        }
        yield {"provider": table, "control": {"url": control}}
    finally:
        server.remove()


BACKENDS: Final[Mapping[str, Backend]] = {
    one.__name__: one for one in (sqlite, postgresql, launchdarkly, split, unleash)
}


def measure(name: str, kills: int, control: str) -> dict[str, Any]:
    """Return percentiles of one backend."""
    with BACKENDS[name](control) as table:
        settings = resolve({**table, "cache_dir": False}, environ={})
        with connect_operator(settings, "benchmark", alerts=()) as operator:
            provider, store = operator.provider, operator.control
            assert store is not None
            if provider.get(PROBE) is None:
                provider.put(Flag.boolean(PROBE), _WHO, expected=ABSENT)
            taken, commits = [], []
            with Follower({**table, "cache_dir": False}) as follower:
                follower.until(decision=True)
                for number in range(kills):
                    time.sleep(random.uniform(0, _PAUSE))
                    begun = time.monotonic_ns()
                    result = operator.kill(PROBE, f"kill {number}")
                    taken.append((follower.until(decision=False) - begun) / 1e6)
                    commits.append(result.took * 1e3)
                    store.record_kill(Scope.parse(PROBE), _WHO, killed=False)
                    if not operator.get(PROBE).on:
                        provider.switch_on(PROBE, _WHO)
                    follower.until(decision=True)
    return {"kills": kills, "to false": percentiles(taken), "commit": percentiles(commits)}


def follow(settings: Table) -> None:
    """Answer the probe whenever its decision changes, until standard input closes."""
    flags = Flags.connect(settings, ready_within=60)
    known: list[bool | None] = [None]

    def told(_keys: frozenset[str]) -> None:
        now = flags.is_enabled(PROBE, _USER)
        if now is not known[0]:
            known[0] = now
            os.write(1, b"%d %d\n" % (time.monotonic_ns(), now))

    flags.on_change(told)
    told(frozenset())
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    """Measure what was asked for, and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--only", default=",".join(BACKENDS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--follow", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.follow:
        follow(json.loads(given.follow))
        return
    found = {}
    with postgres() as server, tempfile.TemporaryDirectory(prefix="downhaul-control-") as folder:
        url = server or sqlite_url(Path(folder), "control")
        if server is None:
            sys.stderr.write("no PostgreSQL is installed: kills beside vendors are on SQLite\n")
        for name in given.only.split(","):
            if name == "postgresql" and server is None:
                continue
            if name not in ("sqlite", "postgresql"):
                _tables(url)
            found[name] = measure(name, given.kills, url)
            if not given.json:
                _print(name, found[name])
    if given.json:
        sys.stdout.write(f"{json.dumps(found, indent=2)}\n")


def _tables(url: str) -> None:
    from stores import provider_at

    from downhaul.store.schema import upgrade

    provider = provider_at(url)
    upgrade(provider.database)
    provider.close()


def _print(name: str, found: Mapping[str, Any]) -> None:
    whole, commit = found["to false"], found["commit"]
    sys.stdout.write(
        f"{name:13} {found['kills']} kills: to false p50 {whole['p50_ms']:.1f} ms, "
        f"p99 {whole['p99_ms']:.1f} ms, longest {whole['max_ms']:.1f} ms; "
        f"commit p50 {commit['p50_ms']:.1f} ms, p99 {commit['p99_ms']:.1f} ms\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
