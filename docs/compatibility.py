"""Makes docs/compatibility.md of the reports in docs/contract/; `make docs` checks that it is so.

`--run NAME` runs the contract on a provider first and keeps its report; without a name, on all.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
_AGAIN: Final = "python docs/compatibility.py"
_OUTCOMES: Final = {"known_gap": "gap", "declined": "declined"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One provider whose report is kept: how it is run, and on what it was tried."""

    on: str
    words: tuple[str, ...] = ()
    """Further words for `downhaul contract run`."""


ASKED: Final[Mapping[str, Asked]] = {
    "memory": Asked("objects of one process"),
    "file": Asked("real files"),
    "sqlite": Asked("real SQLite files"),
    "postgresql": Asked("a real PostgreSQL server"),
    "table": Asked("a table of its own in real SQLite files"),
    "flipper": Asked("Flipper's tables in real SQLite files"),
    "waffle": Asked("django-waffle's tables in real SQLite files"),
    "plain": Asked("real files"),
    "env": Asked("variables of one process"),
    "launchdarkly": Asked(
        "the vendor's SDK, and an emulated service",
        ("--binding", "providers/launchdarkly/tests/test_contract.py"),
    ),
    "split": Asked(
        "the vendor's SDK, and an emulated service",
        ("--binding", "providers/split/tests/test_contract_split.py"),
    ),
    "unleash": Asked(
        "the vendor's SDK, and a real server",
        ("--binding", "providers/unleash/tests/test_contract.py"),
    ),
    "openfeature": Asked(
        "Downhaul's own provider of OpenFeature, around memory",
        ("--binding", "providers/openfeature/tests/test_contract_openfeature.py"),
    ),
    "dual_write": Asked("the wrapper, from memory to memory"),
    "failover": Asked("the wrapper, from memory to memory"),
    "read_only": Asked("the wrapper, around memory"),
    "recording": Asked("the wrapper, around memory"),
    "shadow": Asked("the wrapper, of memory by memory"),
    "staged": Asked("the wrapper, from memory to memory, live and in step"),
}

_HEAD: Final = """\
# What holds where

<!-- Made of the reports in docs/contract by docs/compatibility.py: change nothing by hand. -->

Every provider is asked by the same [contract suite](write-a-provider.md). A number is how many
tests passed. What a provider does not declare is *declined*, and is tested to be refused by name; a
*gap* is a test that is known to fail, and must go on failing until it is mended. No report with a
failure is kept.
"""
_QUESTIONS: Final = """\
## Thirteen questions

The SDKs and adapters of one interface answer these differently. Through Downhaul every backend
gives the same answers: value, reason, error, and whether the value is the flag's own or the
caller's default. Asked: {asked}.
"""
_AFTER: Final = """\
## Made again

The full reports, test by test, are [here](contract/). To run the contract on all and write this
page:

```console
make compatibility
```

One alone, or a new one after its line was added to `ASKED` in [the script](compatibility.py):

```console
python docs/compatibility.py --run memory
```

`make docs` fails where a report is of another version of the suite, lacks a test, or is not what
this page says.
"""


@dataclass(frozen=True, slots=True)
class Column:
    """One binding of one provider."""

    title: str
    asked: Asked
    report: Mapping[str, Any]
    binding: Mapping[str, Any]


# From reports to a page


def reports(root: Path) -> dict[str, Any]:
    """Return the kept reports by provider, in the order of the page."""
    folder = root / "docs" / "contract"
    return {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name in ASKED
        if (path := folder / f"{name}.json").exists()
    }


def columns(found: Mapping[str, Any]) -> list[Column]:
    """Return a column for each binding; a provider that is bound twice has the class beside it."""
    return [
        Column(
            name if len(report["bindings"]) == 1 else f"{name}, {one['name'].removeprefix('Test')}",
            ASKED[name],
            report,
            one,
        )
        for name, report in found.items()
        for one in report["bindings"]
    ]


def page(found: Mapping[str, Any], questions: Mapping[str, Any], groups: Sequence[str]) -> str:
    """Return the page."""
    every = columns(found)
    parts = [_HEAD, *_matrix(every, groups), *_about(every), *_capabilities(every)]
    parts += [*_reasons(every), *_answers(questions), _AFTER]
    return "\n".join(parts)


def _matrix(every: Sequence[Column], groups: Sequence[str]) -> Iterator[str]:
    yield "## Group by group\n"
    titles = [one.title for one in every]
    rows = [[group, *(_cell(one, [group]) for one in every)] for group in groups]
    rows.append(["**all**", *(_cell(one, groups) for one in every)])
    yield _table(["", *titles], rows)


def _cell(column: Column, groups: Iterable[str]) -> str:
    counts = [column.binding["groups"].get(group, {}) for group in groups]
    total = {name: sum(one.get(name, 0) for one in counts) for name in ("passed", *_OUTCOMES)}
    more = [f"{total[name]} {word}" for name, word in _OUTCOMES.items() if total[name]]
    return ", ".join([str(total["passed"]), *more])


def _about(every: Sequence[Column]) -> Iterator[str]:
    yield "## What was asked\n"
    rows = [
        [
            one.title,
            f"{one.report['provider']['package']} {one.report['provider']['version']}",
            one.binding["suite"],
            one.report["python"],
            one.asked.on,
        ]
        for one in every
    ]
    yield _table(["", "package", "suite", "Python", "on"], rows)


def _capabilities(every: Sequence[Column]) -> Iterator[str]:
    yield "## What they declare\n"
    known = sorted({name for one in every for name in one.binding["capabilities"]})
    rows = [
        [f"`{name}`", *("yes" if name in one.binding["capabilities"] else "" for one in every)]
        for name in known
    ]
    yield _table(["", *(one.title for one in every)], rows)


def _reasons(every: Sequence[Column]) -> Iterator[str]:
    yield "## What their models lack, and known gaps\n"
    rows = [
        [one.title, sort, f"`{name}`", reason]
        for one in every
        for sort, field in (("lacks", "lacks"), ("gap", "known_gaps"))
        for name, reason in one.binding[field].items()
    ]
    yield _table(["", "", "", "because"], rows)


def _answers(questions: Mapping[str, Any]) -> Iterator[str]:
    yield _QUESTIONS.format(asked=", ".join(questions["asked"]))
    rows = [[words, answer] for words, answer in questions["answers"].items()]
    yield _table(["asked", "answered, by each of them"], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


# What is wrong


def problems(root: Path, *, write: bool = False) -> Iterator[str]:
    """Yield what is wrong with the reports, and with the page that is made of them."""
    from downhaul_contract_tests.contract import (  # noqa: PLC0415  (heavy, and only here)
        GROUPS,
        TESTS,
        ProviderContract,
    )

    found = reports(root)
    for name in ASKED:
        again = f"({_AGAIN} --run {name})"
        if name not in found:
            yield f"docs/contract/{name}.json: it is not there {again}"
            continue
        for wrong in _wrong(found[name], ProviderContract.suite, set(TESTS)):
            yield f"docs/contract/{name}.json: {wrong} {again}"
    for path in sorted((root / "docs" / "contract").glob("*.json")):
        if path.stem not in (*ASKED, "questions"):
            yield f"docs/contract/{path.name}: docs/compatibility.py names no such provider"
    questions = json.loads(
        (root / "docs" / "contract" / "questions.json").read_text(encoding="utf-8")
    )
    wanted = page(found, questions, list(dict.fromkeys(one.group for one in GROUPS)))
    target = root / "docs" / "compatibility.md"
    there = target.read_text(encoding="utf-8") if target.exists() else ""
    if there != wanted and write:
        target.write_text(wanted, encoding="utf-8")
    elif there != wanted:
        yield f"docs/compatibility.md: it is not what the reports say ({_AGAIN})"


def _wrong(report: Mapping[str, Any], suite: str, tests: set[str]) -> Iterator[str]:
    if not (report["passed"] and report["complete"]):
        yield "it is no report of a whole run in which nothing failed"
    for one in report["bindings"]:
        if one["suite"] != suite:
            yield f"{one['name']} was asked by suite {one['suite']}, and the suite is {suite}"
        ran = {row["test"].partition("[")[0] for row in one["tests"]}
        for test in sorted(tests - ran):
            yield f"{one['name']} was not asked {test}"
        for test in sorted(ran - tests):
            yield f"{one['name']} was asked {test}, which there is none of"


def run(name: str, root: Path) -> int:
    """Run the contract on a provider; keep its report if nothing failed. Returns how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        words = ["contract", "run", "--provider", name, "--report", str(report), *ASKED[name].words]
        command = [sys.executable, "-m", "downhaul", *words]
        code = subprocess.run(command, cwd=root, check=False).returncode  # noqa: S603  (ours)
        if code == 0:
            shutil.copy(report, root / "docs" / "contract" / f"{name}.json")
    return code


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for, write the page, and say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--run", nargs="*", choices=list(ASKED), metavar="NAME", help=f"of {', '.join(ASKED)}"
    )
    asked = parser.parse_args(arguments)
    names = [] if asked.run is None else asked.run or list(ASKED)
    failed = [name for name in names if run(name, ROOT)]
    wrong = [f"{name}: its run failed" for name in failed] + list(problems(ROOT, write=True))
    for one in wrong:
        print(one)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
