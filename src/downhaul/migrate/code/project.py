"""The scanned files as modules: parsed once, indexed when needed, found by their dotted names."""

from __future__ import annotations

import ast
import gc
import re
import warnings
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from downhaul.errors import Problem
from downhaul.migrate.code.indexing import index
from downhaul.migrate.code.scopes import Module
from downhaul.migrate.code.sdks import EVERYDAY
from downhaul.migrate.code.tree import parents, read_python

_BASES: Final = re.compile(r"^[ \t]*class[ \t]+\w+[^(:\n]*\(([^)]*)\)", re.MULTILINE)
_WORD: Final = re.compile(r"\w+")

_WORDS: Final = frozenset({"value", "evaluate", "explain", "choose", "override", "is_up"})

_TOO_DEEP: Final = "is nested too deeply for Python's parser"


class Project:
    """All modules below a folder."""

    def __init__(self, root: Path, paths: list[str], names: AbstractSet[str]) -> None:
        self.root = root
        self.problems: list[Problem] = []
        self.lines = 0
        self._paths = frozenset(paths)
        self._packages = {path.rpartition("/")[0] for path in paths if _is_package(path)}
        self._folders = {folder for path in paths for folder in parents(path)} - self._packages
        self._names = names
        self._mention = _mention(names)
        self._modules: dict[str, Module | None] = {}
        self._found: dict[tuple[str, str], str | None] = {}
        self._inheriting: dict[str, set[str]] = {}

    def read(self, path: str) -> None:
        """Parse a module, and index it if it may refer to flags. What is wrong is a problem."""
        with _collecting_later():
            self._read(path)

    def _read(self, path: str) -> None:
        parsed = self._parse(path)
        if parsed is None:
            self._modules[path] = None
            return
        tree, lines = parsed
        text = "\n".join(lines)
        self.lines += len(lines) - (not lines[-1])
        for bases in _BASES.findall(text):
            for word in _WORD.findall(bases):
                self._inheriting.setdefault(word, set()).add(path)
        if self._mention.search(text):
            self._modules[path] = index(path, tree, lines, self._names | EVERYDAY)

    def read_again(self, names: AbstractSet[str]) -> None:
        """Look for more names: all that was read before is read again."""
        self._names |= names
        self._mention = _mention(self._names)
        self.lines = 0
        self._modules = {path: None for path, module in self._modules.items() if module is None}
        for path in sorted(self._paths - self._modules.keys()):
            self.read(path)

    def referring(self) -> Iterator[Module]:
        """Yield the modules that may refer to flags, in order."""
        for path in sorted(self._modules):
            module = self._modules[path]
            if module is not None:
                yield module

    def module(self, path: str) -> Module | None:
        """Return the module at a path; None where it can't be parsed."""
        if path not in self._modules:
            with _collecting_later():
                parsed = self._parse(path)
                self._modules[path] = parsed and index(path, *parsed, self._names | EVERYDAY)
        return self._modules[path]

    def inheriting(self, name: str) -> list[Module]:
        """Return the modules with a class that may inherit from one of that name."""
        found = (self.module(path) for path in sorted(self._inheriting.get(name, ())))
        return [module for module in found if module is not None]

    def find(self, dotted: str, origin: str) -> tuple[Module, tuple[str, ...]] | None:
        """Return the module that a dotted name means in the file ``origin``, and what is left.

        The nearest folder around ``origin`` that is no package wins, then the one other folder
        that shares most of its path. Where two share as much, nothing is found.
        """
        parts = tuple(dotted.split("."))
        for length in range(len(parts), 0, -1):
            path = self._locate("/".join(parts[:length]), origin.rpartition("/")[0])
            module = self.module(path) if path is not None else None
            if module is not None:
                return module, parts[length:]
        return None

    def relative(
        self, dotted: str, level: int, origin: str
    ) -> tuple[Module, tuple[str, ...]] | None:
        """Return what :meth:`find` does for a relative import with ``level`` dots."""
        folders = list(parents(origin))
        if level > len(folders):
            return None
        parts = tuple(part for part in dotted.split(".") if part)
        for length in range(len(parts), -1, -1):
            path = self._in_folder(folders[level - 1], "/".join(parts[:length]))
            module = self.module(path) if path is not None else None
            if module is not None:
                return module, parts[length:]
        return None

    def submodule(self, module: Module, name: str) -> Module | None:
        """Return a module of a package."""
        if not _is_package(module.path):
            return None
        path = self._in_folder(module.path.rpartition("/")[0], name)
        return None if path is None else self.module(path)

    def dotted(self, module: Module) -> str:
        """Return the name by which a module is imported."""
        bare = module.path.rpartition(".")[0].removesuffix("/__init__")
        for folder in parents(module.path):
            if folder not in self._packages:
                return (bare[len(folder) + 1 :] if folder else bare).replace("/", ".")
        return bare.replace("/", ".")

    def _locate(self, name: str, folder: str) -> str | None:
        known = (name, folder)
        if known not in self._found:
            self._found[known] = self._search(name, folder)
        return self._found[known]

    def _search(self, name: str, folder: str) -> str | None:
        around = [one for one in parents(f"{folder}/x") if one in self._folders]
        for one in around:
            path = self._in_folder(one, name)
            if path is not None:
                return path
        others = {self._in_folder(one, name) for one in self._folders} - {None}
        near = sorted(
            ((_shared(path, folder), path) for path in others if path is not None), reverse=True
        )
        if not near or (len(near) > 1 and near[0][0] == near[1][0]):
            return None
        return near[0][1]

    def _in_folder(self, folder: str, name: str) -> str | None:
        base = f"{folder}/{name}".strip("/")
        for path in (f"{base}/__init__.py", f"{base}.py", "__init__.py" if not base else ""):
            if path in self._paths:
                return path
        return None

    def _parse(self, path: str) -> tuple[ast.Module, list[str]] | None:
        try:
            text = read_python(self.root / path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the scanned code: nothing to do with flags
                return ast.parse(text), text.split("\n")
        except (RecursionError, MemoryError):
            self._trouble(path, _TOO_DEEP, "break up the expression, or name it in .downhaulignore")
        except SyntaxError as error:
            where = f"{path}:{error.lineno}" if error.lineno else path
            self._trouble(where, f"is no Python 3: {error.msg}", "mend it, or ignore it on purpose")
        except ValueError as error:  # null bytes, or bytes that are not of the encoding
            self._trouble(path, f"is no text: {error}", "mend it, or name it in .downhaulignore")
        except OSError as error:
            self._trouble(path, f"can't be read: {error.strerror}", "give yourself the right to")
        return None

    def _trouble(self, origin: str, message: str, hint: str) -> None:
        self.problems.append(Problem("", message, origin, hint))


@contextmanager
def _collecting_later() -> Iterator[None]:
    """Hold the garbage collector for one file: it would look through the growing tree all along.

    A tree has no circles, and this halves the time of a scan.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _mention(names: AbstractSet[str]) -> re.Pattern[str]:
    """Words of everyday count where they are called, or passed on with more: as in most files."""
    rare = "|".join(sorted(map(re.escape, names - _WORDS)))
    common = "|".join(sorted(map(re.escape, names & _WORDS)))
    return re.compile(rf"\b(?:{rare})\b|\.(?:{common})\s*[(,]")


def _is_package(path: str) -> bool:
    return path.rpartition("/")[2] == "__init__.py"


def _shared(path: str, folder: str) -> int:
    """How many folders two paths share from the root."""
    count = 0
    for one, other in zip(path.split("/"), folder.split("/"), strict=False):
        if one != other:
            break
        count += 1
    return count
