"""One call of the admin API: who asks, for what, and what is found there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from downhaul_emulators.serving import Request, Response
from downhaul_emulators.split.account import Account, Environment
from downhaul_emulators.split.refusals import Refusal, bad, missing

if TYPE_CHECKING:
    from downhaul_emulators.split.emulator import SplitEmulator

_PAGE: Final = 20


def token_of(request: Request) -> str:
    """Return the key that a request came with, in either of the two headers that carry one."""
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    return given or request.headers.get("x-api-key", "")


@dataclass(frozen=True, slots=True)
class Call:
    """``names`` are the parts of the path that are no fixed words, in their order."""

    service: SplitEmulator
    request: Request
    names: tuple[str, ...]

    @property
    def account(self) -> Account:
        """What the account holds."""
        return self.service.account

    def workspace(self, name: str) -> None:
        """Refuse another workspace than the one there is."""
        if name != self.account.workspace["id"]:
            raise missing(f"workspace {name}")

    def environment(self, name: str) -> Environment:
        """Return the environment with this id or name."""
        found = self.account.environment(name)
        if found is None:
            raise missing(f"environment {name}")
        return found

    def writable(self, name: str) -> Environment:
        """Return the environment, and refuse where it lets only approved changes in."""
        found = self.environment(name)
        if found.approvals:
            org = self.service.organization
            raise Refusal(403, f"Approvals are required. orgId={org} envId={found.id}")
        if self.service.titles:
            body = self.request.body if isinstance(self.request.body, dict) else {}
            if not all({**body, **self.request.query}.get(one) for one in ("title", "comment")):
                raise Refusal(400, "")  # the service says no more than this
        return found

    def traffic_type(self, name: str) -> dict[str, str]:
        """Return the traffic type with this id or name."""
        for one in self.account.traffic_types:
            if name in (one["id"], one["name"]):
                return one
        raise missing(f"traffic type {name}")

    def flag(self, name: str) -> dict[str, Any]:
        """Return the flag with this name."""
        if name not in self.account.flags:
            raise missing(f"feature flag {name}")
        return self.account.flags[name]

    def body(self, fields: Mapping[str, type] | None = None) -> dict[str, Any]:
        """Return the body, an object; with ``fields``, one with no others than these."""
        body = self.request.body
        if not isinstance(body, dict):
            raise bad("the body must be a JSON object")
        for name, value in body.items() if fields is not None else ():
            if fields is None or name not in fields:
                raise bad(f"unknown field {name}")
            if not isinstance(value, fields[name]):
                raise bad(f"{name} must be of type {fields[name].__name__}")
        return body

    def page(
        self,
        objects: Sequence[Any],
        most: int,
        usual: int = _PAGE,
        *,
        show: Callable[[Any], Any] = lambda one: one,
    ) -> Response:
        """Return a page of a list, as ``offset`` and ``limit`` ask, each as ``show`` makes it."""
        found, offset, limit = self.part(objects, most, usual)
        place = {"offset": offset, "limit": limit, "totalCount": len(objects)}
        return Response(200, {"objects": list(map(show, found)), **place})

    def part(self, objects: Sequence[Any], most: int, usual: int) -> tuple[list[Any], int, int]:
        """Return a part of a list of at most ``most``, with the offset and the limit it has."""
        offset, limit = self._number("offset", 0), self._number("limit", usual)
        limit = min(max(limit, 1), most)
        return list(objects[offset : offset + limit]), offset, limit

    def marked(self, objects: Sequence[Mapping[str, Any]], most: int) -> Response:
        """Return a page of a list that begins after the object whose id is ``after``."""
        limit = min(max(self._number("limit", _PAGE), 1), most)
        ids = [one["id"] for one in objects]
        after = self.request.query.get("after")
        start = ids.index(after) + 1 if after in ids else 0
        found = list(objects[start : start + limit])
        more = start + limit < len(objects)
        body = {
            "data": found,
            "nextMarker": found[-1]["id"] if more else None,
            "previousMarker": None,
            "limit": limit,
            "count": len(found),
        }
        return Response(200, body)

    def _number(self, name: str, default: int) -> int:
        text = self.request.query.get(name, str(default))
        if not text.isdecimal():
            raise bad(f"{name} must be a number: {text!r}")
        return int(text)
