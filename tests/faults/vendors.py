"""Three vendors to break: LaunchDarkly and Split, emulated, and a real Unleash behind a proxy."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import requests
from downhaul_emulators import LaunchDarklyEmulator, SplitEmulator
from downhaul_emulators.launchdarkly import boolean as launchdarkly_flag
from downhaul_emulators.serving import Emulator, Request, Response
from downhaul_emulators.split import boolean as split_flag
from fixtures_unleash import BACKEND_TOKEN, UnleashServer

DEADLINE = 1.0
"""Seconds for one change at the vendor: what hangs is given up after that."""

_PASSWORD = "Str0ng-enough-for-a-test"
_numbers = itertools.count(1)


class Proxy(Emulator):
    """What stands between Downhaul and a real server, and spoils what it is told to."""

    def __init__(self, upstream: str) -> None:
        super().__init__()
        self._upstream = upstream

    def answer(self, request: Request) -> Response:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name in ("authorization", "accept", "if-none-match")
        }
        body = {"json": request.body} if request.body is not None else {}
        told = requests.request(
            request.method,
            f"{self._upstream}{request.path}",
            params=request.query,
            headers=headers,
            timeout=20,
            **body,
        )
        try:
            return Response(told.status_code, told.json())
        except ValueError:
            return Response(told.status_code)


class Vendor:
    """A vendor with a flag ``agent``. ``service`` is what faults are put into.

    ``weight`` and ``off`` are the requests by which a share is set, and a flag put off: a method
    and a path each. ``settings`` are those of a configuration's table ``[provider]``.
    """

    name = ""
    service: Emulator
    weight: tuple[str, str]
    off: tuple[str, str]
    settings: dict[str, Any]
    compares = False

    def flag(self, *, on: bool, percent: int) -> None:
        """Make the flag, or have it as it is said, as a person does at the console."""
        raise NotImplementedError

    def kept(self) -> tuple[bool, float] | None:
        """Return whether it is on, and the percentage; None where there is none."""
        raise NotImplementedError

    def target(self, key: str) -> None:
        """Make a user a target of ``on``, at the console."""
        raise NotImplementedError

    def archive(self) -> None:
        """Take the flag away, at the console."""
        raise NotImplementedError

    def require_approvals(self, required: bool) -> None:
        """Let no change in without an approval."""
        raise NotImplementedError

    def revoke(self, revoked: bool) -> None:
        """Make the admin token worth nothing."""
        raise NotImplementedError

    def show_the_old(self, when: Callable[[], bool]) -> None:
        """Have read-backs show the flag as it is now, while it is time; writes are done."""
        raise NotImplementedError

    def spoil(self, which: tuple[str, str], **fault: Any) -> None:
        method, path = which
        self.service.fail(path, method=method, **fault)

    def spoil_all(self, **fault: Any) -> None:
        """Spoil all that the admin API is asked."""
        self.service.fail("agent", **fault)


class LaunchDarkly(Vendor):
    name = "launchdarkly"
    compares = True
    weight = off = ("PATCH", "/api/v2/flags/default/agent")

    def __init__(self, service: LaunchDarklyEmulator) -> None:
        self.service: LaunchDarklyEmulator = service
        self.settings = {
            "url": f"launchdarkly+{service.url}",
            "sdk_key": service.sdk_key,
            "admin_token": service.admin_token,
            "admin_url": service.url,
            "project": service.project,
            "environment": service.environment,
            "deadline": DEADLINE,
        }

    def flag(self, *, on: bool, percent: int) -> None:
        there = self.service.flags.get("agent", {})
        made = launchdarkly_flag("agent", on=on, percent=percent)
        self.service.put({**made, "targets": there.get("targets", [])})

    def kept(self) -> tuple[bool, float] | None:
        flag = self.service.flags.get("agent")
        if flag is None:
            return None
        served = flag["fallthrough"]
        if "rollout" not in served:
            return flag["on"], 100.0 if served["variation"] == 0 else 0.0
        [weight] = [
            one["weight"] for one in served["rollout"]["variations"] if one["variation"] == 0
        ]
        return flag["on"], weight / 1000

    def target(self, key: str) -> None:
        self.service.change("agent", targets=[{"variation": 0, "values": [key]}])

    def archive(self) -> None:
        self.service.put_away(self.service.flags["agent"])

    def require_approvals(self, required: bool) -> None:
        self.service.approvals = required

    def revoke(self, revoked: bool) -> None:
        self.service.admin_token = "another" if revoked else self.settings["admin_token"]

    def show_the_old(self, when: Callable[[], bool]) -> None:
        # The answer to a patch is the flag as it is then; where that looks wrong, it is read.
        method, path = self.weight
        old = _told(f"{self.service.url}{path}", self.service.admin_token)
        self.service.fail(path, method=method, after=True, status=200, body=old)
        self.service.fail(path, method="GET", status=200, body=old, when=when)


class Split(Vendor):
    name = "split"
    weight = ("PATCH", "/agent/environments/")
    off = ("PATCH|PUT", "/agent/environments/")

    def __init__(self, service: SplitEmulator) -> None:
        self.service: SplitEmulator = service
        self.settings = {
            "url": f"split+{service.url}",
            "sdk_key": service.sdk_key,
            "admin_token": service.admin_token,
            "admin_url": service.admin_url,
            "workspace": service.workspace,
            "environment": service.environment,
            "deadline": DEADLINE,
        }

    def flag(self, *, on: bool, percent: int) -> None:
        self.service.put("agent", split_flag(percent=percent, killed=not on))

    def kept(self) -> tuple[bool, float] | None:
        definition = self.service.definitions.get("agent")
        if definition is None:
            return None
        sizes = {one["treatment"]: one["size"] for one in definition["defaultRule"]}
        return not definition["killed"], float(sizes.get("on", 0))

    def target(self, key: str) -> None:
        treatments = [{"name": "on", "keys": [key]}, {"name": "off"}]
        self.service.change("agent", treatments=treatments)

    def archive(self) -> None:
        self.service.delete("agent")

    def require_approvals(self, required: bool) -> None:
        self.service.approvals = required

    def revoke(self, revoked: bool) -> None:
        self.service.admin_token = "another" if revoked else self.settings["admin_token"]

    def show_the_old(self, when: Callable[[], bool]) -> None:
        here = f"/splits/ws/{self.service.workspace}/agent/environments/{self.service.environment}"
        old = _told(f"{self.service.admin_url}{here}", f"Bearer {self.service.admin_token}")
        self.service.fail(here, method="GET", status=200, body=old, when=when)


class Unleash(Vendor):
    """A real server, asked with the token of a person who may edit, and who needs approvals."""

    name = "unleash"
    weight = ("PUT", "/strategies/")
    off = ("POST", "/development/off")

    def __init__(self, server: UnleashServer, service: Proxy, person: "Person") -> None:
        self.server, self.service, self._person = server, service, person
        self.settings = {
            "url": f"unleash+{service.url}/api",
            "token": BACKEND_TOKEN,
            "admin_token": person.token,
            "environment": "development",
            "deadline": DEADLINE,
        }

    def flag(self, *, on: bool, percent: int) -> None:
        share = {"rollout": str(percent), "stickiness": "default", "groupId": "agent"}
        body = {"name": "flexibleRollout", "title": "downhaul:rollout", "parameters": share}
        if self.kept() is None:
            self.server.ask("POST", "/admin/projects/default/features", {"name": "agent"})
            self.server.ask("POST", f"{self._here}/strategies", body)
        else:
            found = self.server.state("agent")["strategies"]
            [there] = [one for one in found if one["title"] == "downhaul:rollout"]
            self.server.ask("PUT", f"{self._here}/strategies/{there['id']}", body)
        self.server.switch("agent", on=on)

    def kept(self) -> tuple[bool, float] | None:
        found = self.server.ask("GET", "/admin/projects/default/features")["features"]
        if not any(one["name"] == "agent" for one in found):
            return None
        state = self.server.state("agent")
        shares = [
            float(one["parameters"]["rollout"])
            for one in state["strategies"]
            if one["title"] == "downhaul:rollout"
        ]
        return state["enabled"], max(shares, default=0.0)

    def target(self, key: str) -> None:
        allowed = {"contextName": "userId", "operator": "IN", "values": [key]}
        body = {"name": "default", "constraints": [allowed]}
        self.server.ask("POST", f"{self._here}/strategies", body)

    def archive(self) -> None:
        self.server.ask("DELETE", "/admin/projects/default/features/agent")

    def require_approvals(self, required: bool) -> None:
        self._person.needs_approvals(required)

    def revoke(self, revoked: bool) -> None:
        self._person.revoke(revoked)

    def show_the_old(self, when: Callable[[], bool]) -> None:
        path = "/admin/projects/default/features/agent"
        old = self.server.ask("GET", path)
        self.service.fail(f"{path}$", method="GET", status=200, body=old, when=when)

    @property
    def _here(self) -> str:
        return self.server.flag_path("agent")


class Person:
    """Who may edit in a real Unleash: not an admin, so that change requests bind them.

    Change requests are a part of Unleash's enterprise edition. What demands them is in the open
    one: a row of its database, which its editions for sale write.
    """

    def __init__(self, server: UnleashServer) -> None:
        self._server = server
        self._name = f"eve-{next(_numbers)}"
        mail = f"{self._name}@example.com"
        secret = {"username": self._name, "password": _PASSWORD}
        about = {**secret, "name": "Eve", "email": mail, "rootRole": 2, "sendEmail": False}
        made = server.ask("POST", "/admin/user-admin", about)
        self._id = made["id"]
        session = requests.Session()
        login = f"http://127.0.0.1:{server.port}/auth/simple/login"
        session.post(login, json=secret, timeout=20).raise_for_status()
        wanted = {"description": "a test", "expiresAt": "2100-01-01T00:00:00Z"}
        told = session.post(f"{server.url}/admin/user/tokens", json=wanted, timeout=20)
        told.raise_for_status()
        self.token: str = told.json()["secret"]

    def needs_approvals(self, needed: bool) -> None:
        with psycopg.connect(self._server.database_url) as connection:
            connection.execute("DELETE FROM change_request_settings")
            if needed:
                connection.execute(
                    "INSERT INTO change_request_settings (project, environment, "
                    "required_approvals) VALUES ('default', 'development', 1)"
                )

    def revoke(self, revoked: bool) -> None:
        """Let the token expire, or have it back: the server compares its time at each request."""
        until = "now() - interval '1 day'" if revoked else "now() + interval '1 year'"
        with psycopg.connect(self._server.database_url) as connection:
            connection.execute(
                f"UPDATE personal_access_tokens SET expires_at = {until} WHERE user_id = %s",
                [self._id],
            )


def _told(url: str, token: str) -> Any:
    answer = requests.get(url, headers={"Authorization": token}, timeout=20)
    answer.raise_for_status()
    return answer.json()


@contextlib.contextmanager
def launchdarkly() -> Iterator[LaunchDarkly]:
    with LaunchDarklyEmulator() as service:
        yield LaunchDarkly(service)


@contextlib.contextmanager
def split() -> Iterator[Split]:
    with SplitEmulator() as service:
        yield Split(service)


@contextlib.contextmanager
def unleash(server: UnleashServer, person: Person) -> Iterator[Unleash]:
    with Proxy(f"http://127.0.0.1:{server.port}") as service:
        vendor = Unleash(server, service, person)
        yield vendor
        service.heal()
        vendor.require_approvals(False)
        vendor.revoke(False)
        if vendor.kept() is not None:
            vendor.archive()
        server.ask("POST", "/admin/projects/default/delete", {"features": ["agent"]})
