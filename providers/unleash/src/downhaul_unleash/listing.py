"""Read many flags of a project from the admin API at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from downhaul.errors import ProviderError
from downhaul.vendors.rest import Asking
from downhaul_unleash.api import NAME, quoted
from downhaul_unleash.shape import shape_of
from downhaul_unleash.shapes import Export, Feature, Names, Projects, Segments
from downhaul_unleash.state import State, state_of

_PAGE: Final = 100


def features_of(project: str) -> str:
    """Return the path under which a project's flags are."""
    return f"/admin/projects/{quoted(project)}/features"


def everything(asking: Asking, project: str, environment: str) -> list[State]:
    """Return every flag of a project: all names, then their strategies page by page."""
    # One list of names, which is whole: the server's search takes seconds a page at 5,000 flags.
    found = asking.get(features_of(project), shape=Names)["features"]
    names = [str(one["name"]) for one in found]
    if not names:
        _need_project(asking, project)
    states: list[State] = []
    for at in range(0, len(names), _PAGE):
        states += exported(asking, project, environment, names[at : at + _PAGE])
    found = segments_for(asking, states)
    return [one.with_segments(found) for one in states]


def _need_project(asking: Asking, project: str) -> None:
    """Raise ProviderError for a project that is not there: the server lists its flags as none."""
    found = asking.get("/admin/projects", shape=Projects)["projects"]
    known = [str(one["id"]) for one in found]
    if project not in known:
        names = ", ".join(f'"{one}"' for one in known) or "none that this token may see"
        message = f'Unleash has no project "{project}"'
        raise ProviderError(
            message, hint=f"set `project` in [provider] to one of {names}", provider=NAME
        )


def exported(asking: Asking, project: str, environment: str, names: Sequence[str]) -> list[State]:
    """Return the states of some flags at once."""
    if not names:
        return []
    found = _export(asking, environment, names)
    strategies: dict[str, list[Any]] = {name: [] for name in names}
    for one in found["featureStrategies"]:
        strategies.setdefault(one["featureName"], []).append(one)
    environments = {one["featureName"]: one for one in found["featureEnvironments"]}
    needs: dict[str, list[Any]] = {
        one["feature"]: one["dependencies"] for one in found.get("dependencies") or ()
    }
    states: list[State] = []
    for one in found["features"]:
        name = one["name"]
        here = {**environments.get(name, {"enabled": False}), "name": environment}
        here["strategies"] = strategies[name]
        document = {**one, "environments": [here], "dependencies": needs.get(name, [])}
        if len(shape_of(strategies[name]).foreign) > 1:
            # The export has no order, and the order of foreign strategies decides on variants.
            path = f"{features_of(project)}/{quoted(name)}"
            document = asking.get(path, shape=Feature, flag=name)
        states.append(state_of(document, environment))
    return states


def tags_of(asking: Asking, environment: str, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the tags of flags, by name: ``owned``, or ``team:core`` for one of another type."""
    made: dict[str, list[str]] = {}
    for at in range(0, len(names), _PAGE):
        for one in _export(asking, environment, names[at : at + _PAGE]).get("featureTags") or ():
            simple = one["tagType"] == "simple"
            tag = one["tagValue"] if simple else f"{one['tagType']}:{one['tagValue']}"
            made.setdefault(one["featureName"], []).append(tag)
    return {name: tuple(tags) for name, tags in made.items()}


def _export(asking: Asking, environment: str, names: Sequence[str]) -> Any:
    body = {"environment": environment, "features": list(names)}
    path = "/admin/features-batch/export"
    return asking.post(path, body, names[0], again=True, shape=Export)


def segments_for(asking: Asking, states: Sequence[State]) -> list[Any]:
    """Return all segments, where a strategy names one."""
    named_there = any(one["segments"] for state in states for one in state.strategies)
    return all_segments(asking) if named_there else []


def all_segments(asking: Asking) -> list[Any]:
    """Return every segment that there is."""
    return list(asking.get("/admin/segments", shape=Segments)["segments"])
