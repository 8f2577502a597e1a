"""Find all references to flags below a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Final

from downhaul.errors import Problem
from downhaul.migrate.code.aliases import Alias
from downhaul.migrate.code.calling import Calls
from downhaul.migrate.code.constants import Constants
from downhaul.migrate.code.model import Certainty, DefaultKind, Reference, References
from downhaul.migrate.code.project import Project
from downhaul.migrate.code.reading import Reader
from downhaul.migrate.code.resolving import Resolver
from downhaul.migrate.code.sdks import MIXIN_ATTRIBUTES, VERBS
from downhaul.migrate.code.sources import Sources
from downhaul.migrate.code.templates import template_references
from downhaul.migrate.code.tree import Tree, list_files, read_template
from downhaul.migrate.code.wrappers import Wrappers

_NAMES: Final = (
    VERBS.keys() | MIXIN_ATTRIBUTES.keys() | {"Migrator", "MigratorBuilder", "override", "waffle"}
)
"""A module that has none of these words refers to no flag, unless by another name of its own."""

Progress = Callable[[int, int], None]
"""Told how many files of how many are done."""


def find_references(
    root: str | PathLike[str],
    *,
    aliases: Iterable[Alias | str] = (),
    progress: Progress | None = None,
) -> References:
    """Return the references to flags in the Python code and the Django templates below ``root``.

    ``aliases`` name wrappers of somebody's own, as :meth:`Alias.parse` takes them. Nothing that is
    scanned is imported or run. What can't be read is among the problems, and the rest is scanned
    all the same. Raises ConfigError where ``root`` is no folder or an alias can't be read.
    """
    wrappers = [Alias.parse(one) if isinstance(one, str) else one for one in aliases]
    tree = list_files(Path(root))
    return _Search(tree, wrappers, progress).run()


class _Search:
    def __init__(self, tree: Tree, aliases: list[Alias], progress: Progress | None) -> None:
        self._tree = tree
        self._aliases = aliases
        self._progress = progress
        self._names = _NAMES | {alias.name.rpartition(".")[2] for alias in aliases}
        self._project = Project(tree.root, tree.python, self._names)
        self._done = 0

    def run(self) -> References:
        for path in self._tree.python:
            self._project.read(path)
            self._tick()
        calls = self._calls()
        renamed = self._renamed(calls)
        if renamed:
            self._project.read_again(renamed)
            calls = self._calls()
        found = [*self._code(calls), *self._templates()]
        possible = [one for one in found if one.certainty is Certainty.POSSIBLE]
        found = [one for one in found if one.certainty is not Certainty.POSSIBLE]
        problems = [*self._tree.problems, *self._project.problems, *calls.wrappers.unused()]
        return References(
            references=tuple(sorted(set_defaults(found), key=_order)),
            problems=tuple(sorted(problems, key=str)),
            files=len(self._tree.python) + len(self._tree.templates),
            lines=self._project.lines,
            suggestions=tuple(sorted(calls.suggestions)),
            possible=tuple(sorted(possible, key=_order)),
        )

    def _code(self, calls: Calls) -> Iterator[Reference]:
        for module in self._project.referring():
            try:
                yield from calls.references(module)
            except RecursionError:
                message = "is nested too deeply to be followed, and was not read to its end"
                hint = "break up the expression, and look through it by hand"
                self._project.problems.append(Problem("", message, module.path, hint))

    def _calls(self) -> Calls:
        resolver = Resolver(self._project)
        reader = Reader(resolver, Constants(resolver, Sources(self._project, resolver)))
        wrappers = Wrappers(self._project, resolver, reader, self._aliases)
        return Calls(resolver, reader, wrappers, set())

    def _renamed(self, calls: Calls) -> set[str]:
        """Return the names that stand for verbs everywhere (``check = flags.is_enabled``)."""
        return {
            name
            for module in self._project.referring()
            for name, binding in module.renamed
            if name not in self._names
            and any(map(calls.wrappers.verb, calls.resolver.binding(binding)))
        }

    def _templates(self) -> Iterator[Reference]:
        for path in self._tree.templates:
            try:
                text = read_template(self._tree.root / path)
            except OSError as error:
                message = f"can't be read: {error.strerror}"
                hint = "give yourself the right to"
                self._tree.problems.append(Problem("", message, path, hint))
            else:
                self._project.lines += text.count("\n")
                yield from template_references(path, text)
            self._tick()

    def _tick(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, len(self._tree.python) + len(self._tree.templates))


def set_defaults(references: list[Reference]) -> Iterator[Reference]:
    """Give references of an alias without a default the one that its own call has, if it has one.

    ``def enabled(key): return client.variation(key, USER, False)`` asks with False for whoever
    calls it.
    """
    inside: dict[str, list[Reference]] = {}
    for one in references:
        if one.wrapper is not None:
            inside.setdefault(one.wrapper, []).append(one)
    for one in references:
        given = inside.get(one.call, []) if one.sdk == "alias" else []
        if one.default.kind is DefaultKind.NONE and given:
            same = all(other.default == given[0].default for other in given)
            yield replace(one, default=given[0].default) if same else one
        else:
            yield one


def _order(one: Reference) -> tuple[str, int, int, str, str]:
    return one.path, one.line, one.column, one.sdk, one.call
