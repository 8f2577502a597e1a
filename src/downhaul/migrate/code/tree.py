"""Which files of a folder are read, and as what text."""

from __future__ import annotations

import io
import os
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from downhaul.errors import ConfigError, Problem

IGNORE_FILE: Final = ".downhaulignore"

PYTHON: Final = frozenset({".py", ".pyw"})
TEMPLATES: Final = frozenset({".html", ".htm", ".txt", ".jinja", ".jinja2", ".j2", ".djhtml"})

_NEVER: Final = frozenset(
    {"__pycache__", "__pypackages__", "node_modules", "site-packages", "CVS"}
    | {".git", ".hg", ".svn", ".tox", ".nox", ".eggs", ".venv"}
    | {".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".ipynb_checkpoints"}
)
_BUILT: Final = frozenset({"build", "dist", "_build"})  # unless they are packages


@dataclass(slots=True)
class Tree:
    """The files below a folder, relative to it, in order, and what stood in the way."""

    root: Path
    python: list[str] = field(default_factory=list)
    templates: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def list_files(root: Path) -> Tree:
    """Return the files to read. Raises ConfigError where ``root`` is no folder.

    Symbolic links are not followed. What one inside the folder leads to has a name of its own
    there; one that leads out of it is told of as a problem.
    """
    if not root.is_dir():
        hint = "name the folder that holds your code"
        raise ConfigError("this is no folder", hint=hint, origin=str(root))
    tree = Tree(root)
    ignored = _patterns(tree)
    for folder, folders, files in os.walk(root, onerror=lambda error: _unlisted(tree, error)):
        here = Path(folder).relative_to(root).as_posix()
        prefix = "" if here == "." else f"{here}/"
        folders[:] = sorted(
            name for name in folders if _enters(tree, folder, prefix + name, ignored)
        )
        for name in sorted(files):
            _note_file(tree, prefix + name, ignored)
    tree.python.sort()
    tree.templates.sort()
    return tree


def _unlisted(tree: Tree, error: OSError) -> None:
    path = Path(error.filename or tree.root)
    where = path.relative_to(tree.root).as_posix() if path.is_relative_to(tree.root) else str(path)
    tree.problems.append(
        Problem("", f"can't be listed: {error.strerror}", where, "give yourself the right to read")
    )


def _enters(tree: Tree, folder: str, path: str, ignored: list[str]) -> bool:
    name = path.rpartition("/")[2]
    place = Path(folder, name)
    if name in _NEVER or name.endswith(".egg-info") or _matches(path, ignored, folder=True):
        return False
    if _exists(place / "pyvenv.cfg") or _exists(place / "conda-meta"):
        return False
    if name in _BUILT and not _exists(place / "__init__.py"):
        return False
    if place.is_symlink():
        _note_link(tree, place, path)
        return False
    return True


def _note_file(tree: Tree, path: str, ignored: list[str]) -> None:
    suffix = Path(path).suffix.lower()
    wanted = tree.python if suffix in PYTHON else tree.templates if suffix in TEMPLATES else None
    if wanted is None or _matches(path, ignored, folder=False):
        return
    place = tree.root / path
    if place.is_symlink():
        _note_link(tree, place, path)
    elif _is_file(place):
        wanted.append(path)


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except OSError:
        return False  # a folder that may not be looked into: `os.walk` tells of it


def _is_file(place: Path) -> bool:
    try:
        return place.is_file()
    except OSError:
        return True  # opening it tells what is wrong


def _note_link(tree: Tree, place: Path, path: str) -> None:
    target = Path(os.path.realpath(place))
    if _exists(target) and not target.is_relative_to(os.path.realpath(tree.root)):
        message = f"is a symbolic link out of the folder, to {target}, and was not followed"
        hint = f"scan it by itself, or name it in {IGNORE_FILE}"
        tree.problems.append(Problem("", message, path, hint))


def _patterns(tree: Tree) -> list[str]:
    place = tree.root / IGNORE_FILE
    if not place.is_file():
        return []
    patterns = []
    for number, line in enumerate(place.read_text("utf-8", "replace").splitlines(), 1):
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        if pattern.startswith("!"):
            origin = f"{IGNORE_FILE}:{number}"
            message = f'"{pattern}" was left out: a pattern here can\'t take another one back'
            tree.problems.append(Problem("", message, origin, "narrow the other pattern"))
        else:
            patterns.append(pattern)
    return patterns


def _matches(path: str, patterns: list[str], *, folder: bool) -> bool:
    """Return whether a pattern of fnmatch names the path: ``*`` stands for slashes too."""
    name = path.rpartition("/")[2]
    for pattern in patterns:
        if pattern.endswith("/") and not folder:
            continue
        bare = pattern.rstrip("/")
        whole = "/" in bare
        if fnmatchcase(path if whole else name, bare.lstrip("/")):
            return True
    return False


def read_python(place: Path) -> str:
    """Return the text of a module, decoded as Python does, its lines ended as on Unix.

    Raises OSError, SyntaxError for a wrong cookie, and UnicodeDecodeError.
    """
    data = place.read_bytes()
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def read_template(place: Path) -> str:
    """Return the text of a template; what is no UTF-8 is read as Latin-1. Raises OSError."""
    data = place.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parents(path: str) -> Iterator[str]:
    """Yield the folders around a path, the nearest first; the root is ``""``."""
    folder = path.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]
    yield ""
