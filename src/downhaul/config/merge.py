"""From sources to one value per leaf: the highest source that sets a leaf wins it.

What was written for a provider goes with its URL: where a higher source names another provider, the
options of the lower ones are left out, because they are not its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from downhaul.config import sources
from downhaul.config.references import Unreadable, read_reference
from downhaul.config.schema import dotted, origin_of
from downhaul.config.secret import Secret
from downhaul.config.sinks import WEBHOOK, is_address
from downhaul.config.sources import Leaf, Reference, Source, Where
from downhaul.config.urls import scheme_of
from downhaul.errors import Problem
from downhaul.plugins.known import base_of

URL: Final = ("provider", "url")
CONTROL_URL: Final = ("control", "url")
WRAP: Final = ("provider", "wrap")
BACKENDS: Final = "backends"
"""The table of the backends that have names, for whoever moves flags between them."""


@dataclass(slots=True)
class Draft:
    """A configuration on its way: values and leaves by path, and what is wrong so far."""

    leaves: dict[Where, Leaf] = field(default_factory=dict, repr=False)
    values: dict[Where, Any] = field(default_factory=dict, repr=False)
    problems: list[Problem] = field(default_factory=list)
    unread: dict[Where, Problem] = field(default_factory=dict)  # that only some processes need
    notes: list[str] = field(default_factory=list)

    @property
    def origins(self) -> dict[Where, str]:
        """Return where each value was written."""
        return {path: leaf.origin for path, leaf in self.leaves.items()}

    def forget(self, table: str) -> None:
        """Take a table out, with whatever is wrong in it."""
        for path in [path for path in self.leaves if path[0] == table]:
            del self.leaves[path]
            self.values.pop(path, None)
        self.problems = [one for one in self.problems if one.path.partition(".")[0] != table]

    def blame(self, path: Where, message: str, hint: str | None = None) -> None:
        """Note a problem with what stands at ``path``."""
        self.problems.append(self.problem(path, message, hint))

    def problem(self, path: Where, message: str, hint: str | None = None) -> Problem:
        """Return a problem with what stands at ``path``."""
        return Problem(dotted(path), message, origin_of(self.origins, path), hint)


def draft_of(found: Sequence[Source], environ: Mapping[str, str]) -> Draft:
    """Merge sources, given in rising precedence, and read the references that are left."""
    draft = Draft(
        problems=[problem for source in found for problem in source.problems],
        notes=[note for source in found for note in source.notes],
    )
    _merge(draft, found, environ)
    _read(draft, environ)
    return draft


def all_sources(
    given: str | Mapping[str, Any] | None,
    environ: Mapping[str, str],
    here: Path,
    file: str | os.PathLike[str] | None,
    keywords: Mapping[str, Any],
) -> list[Source]:
    """Return the sources in rising precedence."""
    named = file or environ.get(sources.CONFIG) or None
    path, notes = (
        sources.find_file(here, sources.home_of(environ))
        if named is None
        else (here / Path(named).expanduser(), ())
    )
    written = Source() if path is None else sources.from_file(path, here)
    return [
        sources.defaults(environ, here if path is None else path.parent),
        replace(written, notes=(*notes, *written.notes)),
        sources.from_environ(environ, here),
        sources.from_arguments(given, keywords, here),
    ]


def _merge(draft: Draft, found: Sequence[Source], environ: Mapping[str, str]) -> None:
    """Let the highest source that sets a leaf win it."""
    foreign = _of_other_providers(found, environ)
    for rank, source in enumerate(found):
        for leaf in source.leaves:
            if rank < foreign and _is_option(leaf.path, found):
                draft.notes.append(f"{leaf.origin}: {dotted(leaf.path)} is for another provider")
                continue
            for other in [at for at in draft.leaves if _overlaps(at, leaf.path)]:
                del draft.leaves[other]
            draft.leaves[leaf.path] = leaf


def _of_other_providers(found: Sequence[Source], environ: Mapping[str, str]) -> int:
    """Return the rank below which a source speaks of another provider than the one that is used."""
    urls: list[tuple[int, str]] = []
    for rank, source in enumerate(found[1:], start=1):
        for leaf in source.leaves:
            if leaf.path == URL:
                urls.append((rank, _scheme_there(leaf, environ)))  # noqa: PERF401  (clearer)
    if not urls:
        return 0
    rank, scheme = urls[-1]
    return rank if any(other not in ("", scheme) for _, other in urls[:-1]) else 0


def _scheme_there(leaf: Leaf, environ: Mapping[str, str]) -> str:
    try:
        value = read_reference(leaf, environ) if isinstance(leaf.value, Reference) else leaf.value
    except Unreadable:
        return ""
    text = value.reveal() if isinstance(value, Secret) else value
    return base_of(scheme_of(text)) if isinstance(text, str) else ""


def _is_option(path: Where, found: Iterable[Source]) -> bool:
    if len(path) < 2 or path[0] != "provider" or path in (URL, WRAP):  # noqa: PLR2004  (a table's key)
        return False
    wraps = (leaf.value for one in found for leaf in one.leaves if leaf.path == WRAP)
    return not any(isinstance(names, list) and path[1] in names for names in wraps)


def _overlaps(one: Where, other: Where) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _read(draft: Draft, environ: Mapping[str, str]) -> None:
    """Read the references among the leaves that won."""
    for path, leaf in draft.leaves.items():
        if not isinstance(leaf.value, Reference):
            draft.values[path] = leaf.value
            continue
        try:
            draft.values[path] = read_reference(leaf, environ)
        except Unreadable as error:
            if not is_address(path) and path[0] != BACKENDS:
                draft.blame(path, error.message, error.hint)
                continue
            # An application, or a laptop on which somebody kills, tells nobody and needs no URL. It
            # moves no flags either, and needs no token of where they go.
            draft.unread[path] = draft.problem(path, error.message, error.hint)
            if path != WEBHOOK and is_address(path):
                draft.values[path] = Secret("")
