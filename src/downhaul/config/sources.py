"""Where settings are written: defaults, a file, the environment, arguments; each as leaves.

A leaf is one value with its path and its origin. A table with the one key ``env`` or ``file`` is a
leaf too: a reference, read only if nothing of higher rank replaces it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from downhaul.config.locate import line_of, lines_of
from downhaul.errors import Problem

FILE: Final = "downhaul.toml"
PYPROJECT: Final = "pyproject.toml"
CONFIG: Final = "DOWNHAUL_CONFIG"
DEFAULT_URL: Final = "sqlite:///downhaul.db"

VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "DOWNHAUL_URL": ("provider", "url"),
    "DOWNHAUL_CONTROL_URL": ("control", "url"),
    "DOWNHAUL_ENVIRONMENT": ("environment",),
    "DOWNHAUL_KILL_FILE": ("control", "kill_file"),
    "DOWNHAUL_KILL": ("control", "kill"),
    "DOWNHAUL_CACHE_DIR": ("cache_dir",),
    "DOWNHAUL_APPLICATION": ("application",),
    "DOWNHAUL_ALERT_WEBHOOK": ("alerts", "webhook"),
}
_NESTED: Final = tuple(
    f"DOWNHAUL_{table}__" for table in ("PROVIDER", "CONTROL", "ALERTS", "BACKENDS")
)
_KEYWORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "url": ("provider", "url"),
    "wrap": ("provider", "wrap"),
    "control_url": ("control", "url"),
    "on_unknown_kills": ("control", "on_unknown_kills"),
    "kill_file": ("control", "kill_file"),
    "kill": ("control", "kill"),
}

Where = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value. ``directory`` is where a relative path in it resolves."""

    path: Where
    value: Any = field(repr=False)
    origin: str
    directory: Path


@dataclass(frozen=True, slots=True)
class Source:
    """What one place says, and what is wrong with the place itself."""

    leaves: tuple[Leaf, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reference:
    """``{env = "NAME"}`` or ``{file = "path"}``: where a string is, instead of the string."""

    kind: str
    name: str = field(repr=False)


def flatten(
    table: Mapping[str, Any], origin: Callable[[Where], str], directory: Path, under: Where = ()
) -> Iterator[Leaf]:
    """Yield the leaves of nested tables."""
    for key, value in table.items():
        path = (*under, str(key))
        if (reference := _reference(value)) is not None:
            yield Leaf(path, reference, origin(path), directory)
        elif isinstance(value, Mapping):
            yield from flatten(value, origin, directory, path)
        else:
            yield Leaf(path, value, origin(path), directory)


def defaults(environ: Mapping[str, str], directory: Path) -> Source:
    """Return what holds where nobody says anything."""
    values = {
        "environment": "default",
        "provider": {"url": DEFAULT_URL},
        "control": {"on_unknown_kills": "serve", "kill": ""},
        "rollout": {"templates": "rollout-templates"},
    }
    leaves = list(flatten(values, lambda _: "default", directory))
    if state := _state_home(environ):
        leaves.append(Leaf(("cache_dir",), str(state / "downhaul"), "default", directory))
    return Source(tuple(leaves))


def from_file(path: Path, directory: Path) -> Source:
    """Read ``downhaul.toml``, or the table ``[tool.downhaul]`` of a file named ``pyproject.toml``.

    Origins are shown relative to ``directory`` where the file is below it.
    """
    shown = str(path.relative_to(directory) if path.is_relative_to(directory) else path)
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return _unreadable(shown, f"cannot be read: {reason}", "name a file that can be read")
    except UnicodeDecodeError:
        return _unreadable(shown, "is not UTF-8", "save it as UTF-8")
    except tomllib.TOMLDecodeError as error:
        return _unreadable(*_syntax(shown, str(error)), "see https://toml.io")
    table, prefix = document, ()  # type: tuple[Any, Where]
    if path.name == PYPROJECT:
        table, prefix = _tool_table(document), ("tool", "downhaul")
    if table is None:
        return _unreadable(shown, "has no table [tool.downhaul]", f"write one, or a {FILE}")
    lines = lines_of(text)

    def origin(path: Where) -> str:
        line = line_of(lines, (*prefix, *path))
        return shown if line is None else f"{shown}:{line}"

    return Source(tuple(flatten(table, origin, path.parent)))


def find_file(directory: Path, home: Path | None) -> tuple[Path | None, tuple[str, ...]]:
    """Look for a configuration in ``directory`` and above; return it with notes on what it hides.

    The search ends at the root of a repository (``.git``), or at the home directory. Outside both
    it looks only in ``directory``: what strangers leave in ``/tmp`` configures nobody.
    """
    above = [directory, *directory.parents]
    roots = [one for one in above if (one / ".git").exists()]
    end = roots[0] if roots else home if home in above else directory
    for one in above[: above.index(end) + 1]:
        own, shared = one / FILE, one / PYPROJECT
        has_table = shared.is_file() and _has_table(shared)
        if own.is_file():
            note = f"[tool.downhaul] of {shared} is not read: {FILE} stands beside it"
            return own, (note,) if has_table else ()
        if has_table:
            return shared, ()
    return None, ()


def from_environ(environ: Mapping[str, str], directory: Path) -> Source:
    """Read the variables. An empty one is one that is not set."""
    leaves, notes = [], []
    for name, value in sorted(environ.items()):
        if not value or not name.startswith("DOWNHAUL_"):
            continue
        path = VARIABLES.get(name) or _nested(name)
        if path is None:
            notes += _looks_like(name)
        elif name not in VARIABLES and any(
            environ.get(short) for short, other in VARIABLES.items() if other == path
        ):
            notes.append(f"{name} is not read: its short form is set too")
        else:
            read = (
                [one.strip() for one in value.split(",")] if path == ("provider", "wrap") else value
            )
            leaves.append(Leaf(path, read, f"env {name}", directory))
    return Source(tuple(leaves), notes=tuple(notes))


def from_arguments(
    given: str | Mapping[str, Any] | None, keywords: Mapping[str, Any], directory: Path
) -> Source:
    """Read a URL or a mapping shaped as the file, and keywords over it. None is not given."""
    leaves: dict[Where, Leaf] = {}
    if isinstance(given, str) and given:
        leaves["provider", "url"] = Leaf(("provider", "url"), given, "argument url", directory)
    elif isinstance(given, Mapping):
        found = flatten(given, lambda path: f"argument {'.'.join(path)}", directory)
        leaves.update((leaf.path, leaf) for leaf in found)
    for name, value in keywords.items():
        if value is None:
            continue
        said = os.fspath(value) if isinstance(value, os.PathLike) else value
        path = _KEYWORDS.get(name, (name,))
        nested: Any = said
        for part in reversed(path):
            nested = {part: nested}
        found = flatten(nested, lambda _, name=name: f"argument {name}", directory)  # type: ignore[misc]
        leaves.update((leaf.path, leaf) for leaf in found)
    return Source(tuple(leaves.values()))


def _reference(value: Any) -> Reference | None:
    if isinstance(value, Mapping) and len(value) == 1:
        kind, name = next(iter(value.items()))
        if kind in ("env", "file") and isinstance(name, str):
            return Reference(kind, name)
    return None


def _nested(name: str) -> Where | None:
    if not name.startswith(_NESTED):
        return None
    path = tuple(part.lower() for part in name.removeprefix("DOWNHAUL_").split("__"))
    return path if all(path) else None


def _looks_like(name: str) -> list[str]:
    near = get_close_matches(name, VARIABLES, n=1, cutoff=0.85)
    return [f"{name} is not read; did you mean {near[0]}?"] if near else []


def _unreadable(origin: str, message: str, hint: str) -> Source:
    return Source(problems=(Problem("", message, origin, hint),))


def _syntax(shown: str, message: str) -> tuple[str, str]:
    text, _, place = message.partition(" (at line ")
    line = place.partition(",")[0]
    return (f"{shown}:{line}" if line.isdigit() else shown), f"is not valid TOML: {text}"


def _tool_table(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    tool = document.get("tool")
    table = tool.get("downhaul") if isinstance(tool, Mapping) else None
    return table if isinstance(table, Mapping) else None


def _has_table(path: Path) -> bool:
    """Return whether a pyproject.toml means us. A broken one does if it seems to."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    if "downhaul" not in text:
        return False
    try:
        return _tool_table(tomllib.loads(text)) is not None
    except tomllib.TOMLDecodeError:
        return "[tool.downhaul" in text


def _state_home(environ: Mapping[str, str]) -> Path | None:
    state = environ.get("XDG_STATE_HOME", "")
    if state and Path(state).is_absolute():  # the specification has relative ones ignored
        return Path(state)
    home = home_of(environ)
    return home / ".local" / "state" if home else None


def home_of(environ: Mapping[str, str]) -> Path | None:
    """Return the home directory, or None where a process has none."""
    if home := environ.get("HOME"):
        return Path(home)
    try:
        return Path.home()
    except RuntimeError:
        return None
