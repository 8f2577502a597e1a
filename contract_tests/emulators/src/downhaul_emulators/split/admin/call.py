"""One call of the admin API: who asks, for what, and what is found there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from downhaul_emulators.serving import Request, Response
from downhaul_emulators.split.account import Account, Environment
from downhaul_emulators.split.refusals import Refusal, bad, missing

if TYPE_CHECKING:
    from downhaul_emulators.split.emulator import SplitEmulator

_PAGE: Final = 20


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

    def page(self, objects: Sequence[Any], most: int, key: str = "objects") -> Response:
        """Return a page of a list, of at most ``most``, as ``offset`` and ``limit`` ask."""
        offset, limit = self._number("offset", 0), self._number("limit", _PAGE)
        limit = min(max(limit, 1), most)
        found = list(objects[offset : offset + limit])
        total = {"count" if key == "keys" else "totalCount": len(objects)}
        return Response(200, {key: found, "offset": offset, "limit": limit, **total})

    def _number(self, name: str, default: int) -> int:
        text = self.request.query.get(name, str(default))
        if not text.isdecimal():
            raise bad(f"{name} must be a number: {text!r}")
        return int(text)
