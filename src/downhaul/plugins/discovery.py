"""What the installed distributions claim, read from their metadata without importing anything.

``importlib.metadata.entry_points`` stops at the first distribution whose metadata is damaged, and
drops the second of two that claim one name. Here the damaged one is a claim with a problem, and
both claims are seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from downhaul.hookspecs import PROJECT


@dataclass(frozen=True, slots=True)
class Distribution:
    """Name and version as pip shows them."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


@dataclass(frozen=True, slots=True)
class Claim:
    """One entry point of the group, or what stands in its way."""

    name: str
    distribution: Distribution
    entry_point: metadata.EntryPoint | None = None
    problem: str = ""


def claims(path: Sequence[str] | None = None, group: str = PROJECT) -> list[Claim]:
    """Return every claim in a group of the distributions on ``path``, by name.

    The path is ``sys.path`` unless given.

    Of a distribution that is there twice, the copy that Python imports counts: the first.
    """
    found: list[Claim] = []
    seen: set[str] = set()
    for distribution in _distributions(path):
        text = _entry_points_text(distribution)
        if group not in text:
            continue
        read = list(_read(distribution, text, group))
        if not read:
            continue
        identity = normal(read[0].distribution.name)
        if identity not in seen:
            seen.add(identity)
            found += read
    return sorted(found, key=lambda claim: (claim.name, claim.distribution.name))


def normal(name: str) -> str:
    """Return a distribution's name as indexes compare it: lower case, with single dashes."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _distributions(path: Sequence[str] | None) -> Iterator[metadata.Distribution]:
    if path is None:
        return iter(metadata.distributions())
    return iter(metadata.distributions(path=list(path)))


def _entry_points_text(distribution: metadata.Distribution) -> str:
    try:
        return distribution.read_text("entry_points.txt") or ""
    except (OSError, UnicodeError):
        return ""


def _read(distribution: metadata.Distribution, text: str, group: str) -> Iterator[Claim]:
    where, problem = _identity(distribution)
    try:
        points = [point for point in distribution.entry_points if point.group == group]
    except Exception as error:  # noqa: BLE001  (a damaged file fails in any way it likes)
        if re.search(rf"^\s*\[\s*{re.escape(group)}\s*\]", text, re.MULTILINE):
            reason = f"its entry_points.txt cannot be read ({type(error).__name__}: {error})"
            yield Claim(where.name, where, problem=reason)
        return
    for point in points:
        yield Claim(point.name, where, point, problem)


def _identity(distribution: metadata.Distribution) -> tuple[Distribution, str]:
    folder = Path(str(getattr(distribution, "_path", "unknown distribution"))).name
    try:
        fields = distribution.metadata
        names = fields.get_all("Name") or []
        versions = fields.get_all("Version") or []
    except Exception as error:  # noqa: BLE001  (as above)
        return Distribution(folder, ""), f"its metadata cannot be read ({error})"
    version = str(versions[0]) if versions else ""
    if not names or not str(names[0]).strip():
        return Distribution(folder, version), "its metadata has no name"
    return Distribution(str(names[0]).strip(), version), ""
