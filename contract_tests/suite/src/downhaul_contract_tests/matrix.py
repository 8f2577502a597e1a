"""What a run of the contract found, as a table for people and a document for programs. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class Outcome(StrEnum):
    """What became of one test."""

    PASSED = "passed"
    DECLINED = "declined"
    KNOWN_GAP = "known_gap"
    FAILED = "failed"
    SKIPPED = "skipped"
    """By somebody else than the contract: it was not run."""


REPORT: Final = 1
"""The version of the report's shape; raised when a field goes or changes its meaning."""

_SIGNS: Final = {
    Outcome.FAILED: "failed",
    Outcome.KNOWN_GAP: "gap",
    Outcome.DECLINED: "declined",
    Outcome.SKIPPED: "skipped",
}


@dataclass(frozen=True)
class Row:
    """One test of one binding, and what became of it. ``test`` has its parameters."""

    test: str
    name: str
    group: str
    outcome: Outcome
    why: str = ""


@dataclass
class Binding:
    """One class that binds the contract, and its rows."""

    id: str
    name: str
    suite: str
    expected: Sequence[str]
    lacks: Mapping[str, str]
    known_gaps: Mapping[str, str]
    provider: str = ""
    capabilities: Sequence[str] = ()
    rows: dict[str, Row] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    """Cases that were deselected, by their parameters too."""

    @property
    def not_run(self) -> list[str]:
        """Tests of which nothing, or not every case, was run."""
        ran = {row.name for row in self.rows.values() if row.outcome is not Outcome.SKIPPED}
        parts = {one.partition("[")[0] for one in self.left_out}
        parts |= {row.name for row in self.rows.values() if row.outcome is Outcome.SKIPPED}
        return [name for name in self.expected if name not in ran or name in parts]

    def counts(self, group: str | None = None) -> Counter[Outcome]:
        """Count the outcomes of a group, or of all."""
        return Counter(
            row.outcome for row in self.rows.values() if group is None or row.group == group
        )


def table(bindings: Sequence[Binding], groups: Iterable[str]) -> list[str]:
    """Return lines: a row for each group, a column for each binding."""
    lines = [["", *_titles(bindings)]]
    for group in groups:
        cells = [_cell(one.counts(group)) for one in bindings]
        if any(cells):
            lines.append([group, *(cell or "-" for cell in cells)])
    lines.append(["all", *(_cell(one.counts()) or "-" for one in bindings)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def partial(binding: Binding) -> str:
    """Return the line that says that a binding was not run whole, or nothing."""
    missing = binding.not_run
    if not missing:
        return ""
    named = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    return (
        f"PARTIAL {binding.name}: {len(missing)} of {len(binding.expected)} tests "
        f"were not run whole ({named})"
    )


def document(
    bindings: Iterable[Binding], problems: Sequence[str], groups: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the report as JSON data, in the order of ``groups``."""
    shown = [_document(one, groups) for one in bindings]
    return {
        "report": REPORT,
        "complete": not problems and not any(one["partial"] for one in shown),
        "problems": list(problems),
        "bindings": shown,
    }


def _document(binding: Binding, order: Sequence[str]) -> dict[str, Any]:
    places = {group: place for place, group in enumerate(order)}
    rows = sorted(binding.rows.values(), key=lambda row: places.get(row.group, len(places)))
    groups = dict.fromkeys(row.group for row in rows)
    return {
        "binding": binding.id,
        "name": binding.name,
        "suite": binding.suite,
        "provider": binding.provider,
        "capabilities": list(binding.capabilities),
        "lacks": dict(binding.lacks),
        "known_gaps": dict(binding.known_gaps),
        "partial": bool(binding.not_run),
        "not_run": binding.not_run,
        "groups": {
            group: {str(outcome): binding.counts(group)[outcome] for outcome in Outcome}
            for group in groups
        },
        "tests": [
            {"test": row.test, "group": row.group, "outcome": str(row.outcome), "why": row.why}
            for row in rows
        ],
    }


def _titles(bindings: Sequence[Binding]) -> list[str]:
    """Return the providers' names; the classes' where one provider is bound twice."""
    providers = Counter(one.provider for one in bindings)
    return [
        one.provider if one.provider and providers[one.provider] == 1 else one.name
        for one in bindings
    ]


def _cell(counts: Counter[Outcome]) -> str:
    parts = [str(counts[Outcome.PASSED])] if counts else []
    parts += [f"{counts[one]} {sign}" for one, sign in _SIGNS.items() if counts[one]]
    return ", ".join(parts)
