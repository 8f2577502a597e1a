"""Checks that the documents are whole and true; `make docs` runs it.

Every rule of docs/specification.md is cited by a test, or planned; every citation names a rule; the
table of tests and the schema of plans are up to date (``--write`` makes them so); links lead
somewhere; commands, exit codes and variables are documented; docs/compatibility.md is what the
reports of the contract say.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SPECIFICATION: Final = ROOT / "docs" / "specification.md"
BEGIN: Final = "<!-- rules: begin -->"
END: Final = "<!-- rules: end -->"

_RULE: Final = re.compile(r"^- \*\*([A-Z]\d+)\*\*( \*\(planned\)\*)?", re.MULTILINE)
_FENCE: Final = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(?<!!)\[[^\]\n]*(?:\n[^\]\n]*)?\]\(([^()\s]+)\)")
_HEADING: Final = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Citation:
    """A test that says which rule it proves."""

    rule: str
    path: str
    line: int
    test: str


def rules(specification: str) -> dict[str, bool]:
    """Return the numbered rules in order; True for one that is planned."""
    return {name: bool(planned) for name, planned in _RULE.findall(specification)}


# Tests, by their source


def test_files(root: Path) -> list[Path]:
    """Return every file that holds tests of ours."""
    found = [*root.glob("tests/**/*.py"), *root.glob("providers/*/tests/**/test_*.py")]
    # What others inherit from, as the suite's contracts, are tests in files of other names.
    found += root.glob("contract_tests/**/*.py")
    return sorted(one for one in found if ".venv" not in one.parts)


def citations(path: Path, root: Path) -> Iterator[Citation]:
    """Yield what the tests of a file cite, by function, class and module marks."""
    module = ast.parse(path.read_text(encoding="utf-8"), str(path))
    name = path.relative_to(root).as_posix()
    yield from _cited(module.body, _marks_in(module.body), name, "")


def _cited(
    body: Iterable[ast.stmt], outer: frozenset[str], path: str, within: str
) -> Iterator[Citation]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            marks = outer | _marks(node.decorator_list) | _marks_in(node.body)
            yield from _cited(node.body, marks, path, f"{node.name}::")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
            "test"
        ):
            for rule in outer | _marks(node.decorator_list):
                yield Citation(rule, path, node.lineno, within + node.name)


def _marks_in(body: Iterable[ast.stmt]) -> frozenset[str]:
    """Return what ``pytestmark = ...`` cites for all that is beside it."""
    found: frozenset[str] = frozenset()
    for node in body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets
        ):
            listed = (
                node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value]
            )
            found |= _marks(listed)
    return found


def _marks(nodes: Iterable[ast.expr]) -> frozenset[str]:
    return frozenset(
        argument.value
        for node in nodes
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "rule"
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    )


def table(known: dict[str, bool], cited: list[Citation]) -> str:
    """Return the table of the specification: rule, file, and the tests in it."""
    lines = ["| rule | tests |", "|---|---|"]
    for rule, planned in known.items():
        by_file: dict[str, list[str]] = {}
        for one in cited:
            if one.rule == rule:
                by_file.setdefault(one.path, []).append(f"`{one.test}`")
        parts = [
            f"[{path}](../{path}): {', '.join(sorted(set(tests)))}"
            for path, tests in sorted(by_file.items())
        ]
        said = "<br>".join(parts) or ("planned" if planned else "none")
        lines.append(f"| {rule} | {said} |")
    return "\n".join(lines)


def check_rules(root: Path, *, write: bool) -> Iterator[str]:
    """Yield what is wrong between the rules and the tests."""
    page = root / "docs" / "specification.md"
    text = page.read_text(encoding="utf-8")
    known = rules(text)
    cited = [one for path in test_files(root) for one in citations(path, root)]
    for one in cited:
        if one.rule not in known:
            yield f"{one.path}:{one.line}: {one.test} cites rule {one.rule}, which there is none of"
    proven = {one.rule for one in cited}
    for rule, planned in known.items():
        if not planned and rule not in proven:
            yield f'docs/specification.md: no test cites rule {rule} (@pytest.mark.rule("{rule}"))'
    before, _, rest = text.partition(BEGIN)
    found, _, after = rest.partition(END)
    wanted = f"\n{table(known, cited)}\n"
    if found != wanted and write:
        page.write_text(f"{before}{BEGIN}{wanted}{END}{after}", encoding="utf-8")
    elif found != wanted:
        yield "docs/specification.md: the table is out of date (python docs/check.py --write)"


# Links


def pages(root: Path) -> list[Path]:
    """Return the documents whose links are checked."""
    return sorted([*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("changelog.d/*.md")])


def anchors(text: str) -> set[str]:
    """Return what a link into a page can name, as GitHub makes it of headings."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def _anchors_of(page: Path) -> set[str]:
    return anchors(page.read_text(encoding="utf-8"))


def check_links(root: Path) -> Iterator[str]:
    """Yield every relative link that leads nowhere."""
    for page in pages(root):
        text = _FENCE.sub("", page.read_text(encoding="utf-8"))
        for link in _LINK.findall(text):
            if "://" in link or link.startswith("mailto:"):
                continue
            place, _, anchor = link.partition("#")
            target = (page.parent / place).resolve() if place else page
            where = page.relative_to(root).as_posix()
            if not target.exists():
                yield f"{where}: the link to {link} leads nowhere"
            elif anchor and target.suffix == ".md" and anchor not in _anchors_of(target):
                yield f"{where}: {place or 'this page'} has no heading for #{anchor}"


def check_index(root: Path) -> Iterator[str]:
    """Yield every page that docs/README.md doesn't lead to."""
    index = (root / "docs" / "README.md").read_text(encoding="utf-8")
    for page in sorted(root.glob("docs/*.md")):
        if page.name != "README.md" and f"({page.name})" not in index:
            yield f"docs/README.md: no link to {page.name}"


# What the code has and a page must tell


def check_settings(root: Path) -> Iterator[str]:
    """Yield every variable, setting, command and exit code that no page tells of."""
    from downhaul.cli.exits import Exit  # noqa: PLC0415  (heavy, and only here)
    from downhaul.cli.shapes import commands  # noqa: PLC0415
    from downhaul.config.schema import ControlTable  # noqa: PLC0415

    texts = {page.name: page.read_text(encoding="utf-8") for page in root.glob("docs/*.md")}
    everything = "\n".join(texts.values())
    sources = [*root.glob("src/**/*.py"), *root.glob("providers/*/src/**/*.py")]
    named = {
        name
        for source in sources
        for name in re.findall(r"DOWNHAUL_[A-Z_]*[A-Z]", source.read_text(encoding="utf-8"))
    }
    for name in sorted(named - {"DOWNHAUL_COMPLETE"}):  # that one is click's own
        if name not in everything:
            yield f"docs: the variable {name} is nowhere told of"
    for name in ControlTable.model_fields:
        if not re.search(rf"\b{name}\b", texts["configuration.md"]):
            yield f"docs/configuration.md: the setting control.{name} is not told of"
    page = texts["command-line.md"]
    for command in commands():
        if f"### {command}\n" not in page:
            yield f"docs/command-line.md: no section on {command}"
    for code in Exit:
        if f"\n| {code.value} |" not in page:
            yield f"docs/command-line.md: exit code {code.value} is not told of"


def check_schemas(root: Path, *, write: bool) -> Iterator[str]:
    """Yield every published schema that is not the one of the code."""
    from downhaul.rollout.planfile import json_schema  # noqa: PLC0415  (heavy, and only here)

    page = root / "docs" / "rollout-plan.schema.json"
    wanted = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if page.exists() and page.read_text(encoding="utf-8") == wanted:
        return
    if write:
        page.write_text(wanted, encoding="utf-8")
    else:
        yield f"docs/{page.name}: it is out of date (python docs/check.py --write)"


def check_compatibility(root: Path) -> Iterator[str]:
    """Yield what is out of date in the table of what holds where."""
    sys.path.insert(0, str(root / "docs"))
    try:
        from compatibility import problems  # noqa: PLC0415  (heavy, and only here)
    finally:
        sys.path.remove(str(root / "docs"))
    yield from problems(root)


def main(arguments: list[str] | None = None) -> int:
    """Print every problem, and return how the process ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="bring the table of tests up to date")
    asked = parser.parse_args(arguments)
    problems = [
        *check_rules(ROOT, write=asked.write),
        *check_links(ROOT),
        *check_index(ROOT),
        *check_settings(ROOT),
        *check_schemas(ROOT, write=asked.write),
        *check_compatibility(ROOT),
    ]
    for problem in problems:
        print(problem)
    known = rules(SPECIFICATION.read_text(encoding="utf-8"))
    planned = sum(known.values())
    print(f"{len(known)} rules, {planned} of them planned; {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
