"""A run in tables: for the terminal, and for the page in docs/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from goals import best
from rounds import HERE

PAGE = HERE.parent / "docs" / "performance.md"
_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"
_STATES = {True: "met", False: "MISSED", None: "not known"}

Row = tuple[str, ...]
Table = tuple[Row, Sequence[Row]]


def tables(results: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the goals, then everything measured."""
    rows = [
        (one["what"], one["goal"], one["measured"], _STATES[one["met"]]) for one in results["goals"]
    ]
    yield ("what", "goal", "measured", ""), rows
    for table in (
        _contestants(results),
        _ours(results),
        _following(results),
        _above(results),
        _imports(results),
    ):
        if table[1]:
            yield table
    if volume := results.get("volume"):
        yield _volume(volume)


def _contestants(results: Mapping[str, Any]) -> Table:
    floor = best(results, "floor", "case")
    rows = []
    for name, one in results.get("contestants", {}).items():
        if "absent" in one:
            rows.append((name, "absent", "", "", one["absent"]))
        elif floor is not None and "case" in one["measures"]:
            case = one["measures"]["case"]
            on = one["decided"]["on"] / one["decided"]["of"]
            times = f"{case['best_us'] / floor:.2f}"
            told = f"{one['version']}, {on:.1%} on".lstrip(", ")
            rows.append((name, f"{case['best_us']:.3f}", f"{case['median_us']:.3f}", times, told))
    return ("the case", "best µs", "median µs", "floors", ""), rows


def _ours(results: Mapping[str, Any]) -> Table:
    rows = []
    for name in ("floor", "downhaul", "downhaul, a million"):
        measures = results.get("contestants", {}).get(name, {}).get("measures", {})
        for measure, one in measures.items():
            label = f"{name}: {measure}"
            rows.append((label, f"{one['best_us']:.3f}", f"{one['median_us']:.3f}"))
    return ("each call", "best µs", "median µs"), rows


def _following(results: Mapping[str, Any]) -> Table:
    rows = []
    for store, found in results.get("propagation", {}).items():
        for what, one in found.items():
            if isinstance(one, Mapping):
                figures = (f"{one[name]:.1f}" for name in ("p50_ms", "p99_ms", "max_ms"))
                rows.append((f"{store}: {what}", *figures, str(found["changes"])))
    return ("from process to process", "p50 ms", "p99 ms", "most ms", "of"), rows


def _above(results: Mapping[str, Any]) -> Table:
    rows = [
        (f"{vendor}, {way}", *(_spread(one[name]) for name in ("sdk_us", "ours_us", "more_us")))
        for vendor, found in results.get("sdks", {}).items()
        if vendor != "absent"
        for way, one in found.items()
    ]
    return ("above the vendors' SDKs", "SDK µs", "Downhaul µs", "more µs"), rows


def _spread(figures: Sequence[float]) -> str:
    middle, low, high = figures
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def _imports(results: Mapping[str, Any]) -> Table:
    found = results.get("import")
    if found is None:
        return ("importing", "ms"), []
    rows = [("downhaul: Flags, Context", f"{found['best_ms']:.0f}")]
    for name, taken in found["others_ms"].items():
        rows.append((name, taken if isinstance(taken, str) else f"{taken:.0f}"))
    return ("importing, over the interpreter", "ms of processor"), rows


def _volume(found: Mapping[str, Any]) -> Table:
    few, many = found["change_us"], found["kill_us"]
    rows = [
        (
            "resident memory: loaded / each asked / each evaluated too",
            _memory(found, "resident", "MB"),
        ),
        ("traced memory: loaded / each asked / each evaluated too", _memory(found, "traced", "MB")),
        ("payload at hand, until the first decision", f"{found['ready_s']:.2f} s"),
        ("payload at hand, until each flag has decided", f"{found['each_asked_s']:.2f} s"),
        ("connected to an SQLite file with them", f"{found['connect_s']:.2f} s"),
    ]
    for name, taken in (("changed", few), ("killed", many)):
        label = f"one flag {name}, with {' / '.join(taken)} flags"
        rows.append((label, f"{' / '.join(f'{one:.0f}' for one in taken.values())} µs"))
    return (f"{found['flags']:,} flags", ""), rows


def _memory(found: Mapping[str, Any], kind: str, unit: str) -> str:
    names = (f"{kind}_mb", f"{kind}_asked_mb", f"{kind}_evaluated_mb")
    return " / ".join(f"+{found[name]:.1f}" for name in names) + f" {unit}"


def plain(table: Table) -> str:
    """Return a table for a terminal."""
    head, rows = table
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in (head, tuple("-" * width for width in widths), *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)


def markdown(table: Table) -> str:
    """Return a table for a page."""
    head, rows = table
    lines = [f"| {' | '.join(cell or ' ' for cell in row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], f"|{'---|' * len(head)}", *lines[1:]])


def section(results: Mapping[str, Any]) -> str:
    """Return what stands between the marks on the page."""
    machine = results["machine"]
    where = (
        f"Measured {machine['at'][:10]} on {machine['cores']} cores of {machine['processor']}, "
        f"{machine['system']}, {machine['python']}; load before the run {machine['load_before']}."
    )
    return "\n\n".join([where, *map(markdown, tables(results))])


def written(page: str, results: Mapping[str, Any]) -> str:
    """Return the page with the results in the place of those that are there."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n\n{section(results)}\n\n{_END}{after}"


def write_page(results: Mapping[str, Any], page: Path = PAGE) -> None:
    """Put the results on the page."""
    page.write_text(written(page.read_text(), results))
