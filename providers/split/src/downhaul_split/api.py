"""Split's admin API: where its documents are, and how its refusals are told."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote, urlencode

import requests

from downhaul.config import Secret
from downhaul.errors import ConfigError
from downhaul.vendors.rest import Asking, Exists, Refusal, RestApi, retry_after
from downhaul.vendors.shapes import Shape
from downhaul_split.shapes import About, Abouts, Definition, Definitions, Workspaces

NAME: Final = "split"
_PAGE: Final = 50
_REFUSALS: Final[Mapping[int, Refusal]] = {
    401: Refusal("refuses the admin key (401)", "set `admin_token` to an admin API key"),
    403: Refusal(
        "does not let this key do that (403)",
        "give the key a role that may edit flags here; where the environment requires approvals, "
        "ask for the change in Split, and kill in Downhaul, which needs none",
    ),
}
_REMAINING: Final = ("X-RateLimit-Reset-Seconds-Org", "X-RateLimit-Reset-Seconds-IP")


def api_of(url: str, token: Secret, deadline: float, *, header: str = "Authorization") -> RestApi:
    """Return the API. ``header`` is ``x-api-key`` for accounts that moved to Harness."""
    bearer = header == "Authorization"
    return RestApi(
        url.rstrip("/"),
        token,
        vendor="Split",
        provider=NAME,
        headers=lambda key: {header: f"Bearer {key}" if bearer else key},
        refusals=_REFUSALS,
        wait=_wait_of,
        not_found="see which `workspace` and `environment` are configured",
        unexpected="`admin_url` must lead to Split's admin API",
        deadline=deadline,
    )


class Place:
    """One environment of one workspace, by the requests of one verb.

    ``workspace`` is an id or a name; None is the only one that there is.
    """

    def __init__(self, workspace: str | None, environment: str, traffic_type: str) -> None:
        self._named = workspace
        self._environment = environment
        self._traffic_type = traffic_type
        self._workspace: str | None = None

    def definition(self, asking: Asking, key: str) -> dict[str, Any]:
        """Return a flag's definition in this environment. Raises FlagNotFound."""
        return dict(asking.get(self._here(asking, key), shape=Definition, flag=key))

    def definitions(self, asking: Asking) -> list[dict[str, Any]]:
        """Return all definitions of this environment, page by page to the end."""
        path = f"/splits/ws/{self._id(asking)}/environments/{_quoted(self._environment)}"
        return self._all(asking, path, Definitions)

    def about(self, asking: Asking, key: str) -> dict[str, Any]:
        """Return what all environments share: description and tags. Raises FlagNotFound."""
        path = f"/splits/ws/{self._id(asking)}/{_quoted(key)}"
        return dict(asking.get(path, shape=About, flag=key))

    def abouts(self, asking: Asking) -> dict[str, dict[str, Any]]:
        """Return that of all flags, by name."""
        path = f"/splits/ws/{self._id(asking)}"
        return {one["name"]: one for one in self._all(asking, path, Abouts)}

    def patch(
        self, asking: Asking, key: str, operations: list[dict[str, Any]], title: str, comment: str
    ) -> None:
        """Change parts of a definition, in one request."""
        said = urlencode({"title": title, "comment": comment})
        asking.patch(f"{self._here(asking, key)}?{said}", operations, flag=key)

    def kill(self, asking: Asking, key: str, title: str, comment: str) -> None:
        """Kill a flag as the console does, which SDKs are told before anything else."""
        said = urlencode({"title": title, "comment": comment})
        asking.put(f"{self._here(asking, key)}/kill?{said}", None, flag=key)

    def replace(self, asking: Asking, key: str, definition: Mapping[str, Any]) -> None:
        """Write a definition whole."""
        asking.put(self._here(asking, key), definition, flag=key)

    def create(
        self, asking: Asking, key: str, description: str, definition: Mapping[str, Any]
    ) -> None:
        """Make a flag, or what an environment lacks of one that is there."""
        path = f"/splits/ws/{self._id(asking)}/trafficTypes/{_quoted(self._traffic_type)}"
        with suppress(Exists):  # other environments have it, or had it
            asking.post(path, {"name": key, "description": description})
        asking.post(self._here(asking, key), definition, flag=key)

    def describe(self, asking: Asking, key: str, description: str, tags: list[str]) -> None:
        """Set description and tags."""
        path = f"/splits/ws/{self._id(asking)}/{_quoted(key)}/updateDescription"
        asking.put(path, description, flag=key)
        path = f"/tags/ws/{self._id(asking)}/object/{_quoted(key)}/objecttype/Split"
        asking.post(path, tags, flag=key, again=True)

    def remove(self, asking: Asking, key: str) -> None:
        """Remove the definition of this environment; others keep theirs."""
        asking.delete(self._here(asking, key), flag=key)

    def _all(self, asking: Asking, path: str, shape: type[Shape]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            asking.renew()
            part = {"limit": _PAGE, "offset": len(found)}
            page = asking.get(path, shape=shape, query=part)
            found += page["objects"]
            whole = page.get("totalCount")
            if not page["objects"] or whole is None or len(found) >= whole:
                return found

    def _here(self, asking: Asking, key: str) -> str:
        environment = _quoted(self._environment)
        return f"/splits/ws/{self._id(asking)}/{_quoted(key)}/environments/{environment}"

    def _id(self, asking: Asking) -> str:
        if self._workspace is None:
            part = {"limit": _PAGE}
            found = asking.get("/workspaces", shape=Workspaces, query=part)["objects"]
            fit = [one for one in found if self._named in (None, one["id"], one["name"])]
            if len(fit) != 1:
                names = ", ".join(sorted(str(one["name"]) for one in found)) or "none"
                said = f"several: {names}" if self._named is None else f"no {self._named!r}"
                message = f"Split has {said} among the workspaces that this key sees"
                raise ConfigError(message, hint=f"set `workspace` to one of: {names}")
            self._workspace = _quoted(str(fit[0]["id"]))
        return self._workspace


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _wait_of(answer: requests.Response) -> float | None:
    """Return how long to wait: the longer of what the organization and the address may not do."""
    named = [answer.headers.get(name, "") for name in _REMAINING]
    waits = [float(text) for text in named if text.isascii() and text.isdigit()]
    return max(waits) if waits else retry_after(answer)
