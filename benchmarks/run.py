"""Measure Downhaul beside the floor and the other SDKs: the entry of ``make bench``.

Prints the goals and all figures, and writes them to ``benchmarks/results.json``. A missed goal is
printed plainly and changes nothing else: a benchmark informs. Ends with 0; with 3 where a goal was
missed and ``--check`` asked; with 4 where a peer could not take part and nobody said that it may.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import above
import goals
import imports
import machine
import propagation
import report
import rounds
import stores
import volume

PARTS = ("deciding", "import", "volume", "propagation", "sdks")
_MISSED, _ABSENT = 3, 4

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    plan: rounds.Plan
    imports: int
    loads: int
    flags: int
    changes: int
    turns: int


FULL = Size(rounds.FULL, imports=21, loads=3, flags=10_000, changes=200, turns=16)
QUICK = Size(rounds.QUICK, imports=5, loads=1, flags=500, changes=10, turns=2)


def main(arguments: list[str] | None = None) -> int:
    """Run, report, and return the exit code."""
    asked = _asked(arguments)
    size = QUICK if asked.quick else FULL
    whole = not asked.quick and set(asked.only) == set(PARTS)
    results = measure(size, asked.only, _progress)
    _progress("")
    if whole or asked.json:
        path = asked.json or rounds.HERE / "results.json"
        path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    if asked.docs:
        report.write_page(results)
    print("\n\n".join(map(report.plain, report.tables(results))))
    return _concluded(results, check=asked.check, allow_missing=asked.allow_missing)


def measure(size: Size, parts: list[str], progress: Progress) -> dict[str, Any]:
    """Return everything measured, and the goals."""
    results: dict[str, Any] = {"machine": machine.described(), "quick": size is QUICK}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="downhaul-bench-")))
        environment = {"DOWNHAUL_CACHE_DIR": str(folder)}
        os.environ.update(environment)
        postgres = stack.enter_context(stores.postgres())
        if postgres is not None:
            environment[rounds.POSTGRES] = postgres
        if "import" in parts:
            results["import"] = imports.run(size.imports, progress)
        if "deciding" in parts:
            results |= _deciding(size, environment, progress)
        if "volume" in parts:
            results["volume"] = _volume(size, folder, environment, progress)
        if "propagation" in parts:
            results["propagation"] = _propagation(size, folder, postgres, environment, progress)
        if "sdks" in parts:
            results["sdks"] = above.run(size.turns, environment, progress)
    results["goals"] = [one.as_data() for one in goals.judged(results)]
    return results


def _deciding(size: Size, environment: Mapping[str, str], progress: Progress) -> dict[str, Any]:
    entries = [*rounds.OURS, *rounds.PEERS]
    standings = rounds.run(entries, size.plan, environment, progress)
    floors = standings["floor"].decided
    for entry in rounds.OURS:
        if standings[entry.name].decided != floors:
            message = f"{entry.name} decides other than the floor: there is nothing to compare"
            raise SystemExit(message)
    return {
        "peers": [entry.name for entry in rounds.PEERS],
        "contestants": {name: one.as_data() for name, one in standings.items()},
    }


def _volume(
    size: Size, folder: Path, environment: Mapping[str, str], progress: Progress
) -> dict[str, Any]:
    urls = {}
    for count in (1, size.flags):
        progress(f"writing {count} flags")
        urls[count] = stores.sqlite_url(folder, f"{count}-flags")
        stores.fill(urls[count], count)
    return volume.run(urls, size.loads, environment, progress)


def _propagation(
    size: Size,
    folder: Path,
    postgres: str | None,
    environment: Mapping[str, str],
    progress: Progress,
) -> dict[str, Any]:
    found = {}
    for name, url, pause in (
        ("sqlite", stores.sqlite_url(folder, "followed"), 0.06),
        ("postgresql", postgres, 0.02),
    ):
        if url is None:
            continue
        progress(f"{name}: writing {size.flags} flags")
        stores.fill(url, size.flags)
        found[name] = propagation.run(url, size.changes, environment, progress, pause=pause)
        if name == "postgresql" and size is FULL:
            found["postgresql, unheard"] = propagation.run_unheard(url, environment, progress)
    return found


def _concluded(results: Mapping[str, Any], *, check: bool, allow_missing: bool) -> int:
    contestants = results.get("contestants", {})
    absent = {name: one["absent"] for name, one in contestants.items() if "absent" in one}
    if "absent" in results.get("sdks", {}):
        absent["an SDK to be above of"] = results["sdks"]["absent"]
    for name, why in absent.items():
        print(f"\nABSENT: {name} ({why})")
    if absent:
        print("`make bench` installs the peers; --allow-missing measures without them.")
    behind = [one for one in results["goals"] if one["met"] is False]
    for one in behind:
        print(f"\nMISSED: {one['what']}: {one['measured']}, and the goal is {one['goal']}")
    unknown = sum(one["met"] is None for one in results["goals"])
    met = len(results["goals"]) - len(behind) - unknown
    print(f"\n{met} goals met, {len(behind)} missed, {unknown} not known.")
    if results["quick"]:
        print("A quick run: its figures say that it runs, not how fast.")
    if behind and check:
        return _MISSED
    return _ABSENT if absent and not allow_missing else 0


def _progress(what: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{what}")
        sys.stderr.flush()


def _asked(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute instead of many; no record")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where to write the results")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), help="measure these parts alone"
    )
    parser.add_argument("--check", action="store_true", help="end with 3 where a goal is missed")
    parser.add_argument(
        "--allow-missing", action="store_true", help="end with 0 though a peer is not installed"
    )
    parser.add_argument(
        "--docs", action="store_true", help="put the results on the page docs/performance.md"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
