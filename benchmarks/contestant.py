"""One contestant in a process of its own: stays alive, and runs a round whenever it is told to.

Run as ``python benchmarks/contestant.py MODULE``. It reads one JSON command a line on standard
input and answers with one on standard output: ``{"measure": NAME, "passes": N}`` with the seconds
that N passes took, ``{"decisions": true}`` with what it decided for the case's users. It ends when
standard input closes.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any


@dataclass(frozen=True, slots=True)
class Measure:
    """One pass of what is measured, and how many evaluations it holds."""

    run: Callable[[], object]
    calls: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A contestant that is ready to be measured.

    ``decisions`` answers the case for each user, in order. ``distribution`` is what to look up the
    version of. ``told`` is anything else worth writing down.
    """

    measures: Mapping[str, Measure]
    decisions: Callable[[], Sequence[bool]]
    distribution: str | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


def main(module: str) -> None:
    """Prepare the contestant and serve rounds until standard input closes."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # an SDK that prints must not print into the channel

    def say(**words: Any) -> None:
        channel.write(json.dumps(words) + "\n")
        channel.flush()

    started = time.perf_counter()
    try:
        prepared: Prepared = importlib.import_module(module).prepare()
    except ImportError as error:
        say(absent=f"{type(error).__name__}: {error}")
        return
    say(
        ready=time.perf_counter() - started,
        version=_version(prepared.distribution),
        measures={name: one.calls for name, one in prepared.measures.items()},
        told=dict(prepared.told),
    )
    for line in sys.stdin:
        asked = json.loads(line)
        if "measure" in asked:
            say(seconds=_seconds(prepared.measures[asked["measure"]].run, asked["passes"]))
        else:
            decided = bytes(map(bool, prepared.decisions()))
            say(on=sum(decided), of=len(decided), digest=hashlib.sha256(decided).hexdigest())
    channel.flush()
    os._exit(0)  # whatever threads an SDK has left


def _seconds(run: Callable[[], object], passes: int) -> float:
    gc.collect()
    started = time.perf_counter()
    for _ in range(passes):
        run()
    return time.perf_counter() - started


def _version(distribution: str | None) -> str:
    return "" if distribution is None else metadata.version(distribution)


if __name__ == "__main__":
    main(sys.argv[1])
