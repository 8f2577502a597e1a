"""What Unleash's server and SDK would let happen in silence, and must not."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from downhaul_unleash.admin import Admin
from downhaul_unleash.api import Api
from downhaul_unleash.provider import UnleashProvider
from downhaul_unleash.session import Connection
from fixtures_unleash import ADMIN_TOKEN, BACKEND_TOKEN
from strategies_unleash import rollout, users
from stubs_unleash import ANA, client, connection, eventually, managing, provider

from downhaul import Context, Flag
from downhaul.backends.edits import weight_of_variant
from downhaul.backends.memory import MemoryProvider
from downhaul.config import Secret
from downhaul.errors import ProviderError, Refused
from downhaul.flag import FlagKind, FlagSet
from downhaul.provider import Capability
from downhaul.wrappers.comparisons import Outcome
from downhaul.wrappers.shadow import Shadow

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("unleash")]


@pytest.fixture
def console(unleash):
    return managing(unleash)


@contextmanager
def recording(*features):
    """A server that serves these features to SDKs, and the requests that it got."""
    payload = json.dumps({"version": 2, "features": list(features)}).encode()
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(("GET", self.path, dict(self.headers), ""))
            self.send_response(200)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def do_POST(self):
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length).decode()
            asked.append(("POST", self.path, dict(self.headers), body))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_words):
            """Nothing: pytest captures it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api", asked
        server.shutdown()
        thread.join()


def at(url, **fields):
    token = Secret(BACKEND_TOKEN)
    return UnleashProvider(Connection(url, token, environment="development", **fields))


def done_to(server, name):
    """The types of a flag's events, the oldest first."""
    found = server.ask("GET", f"/admin/search/events?feature=IS:{name}&limit=50")["events"]
    return [one["type"] for one in reversed(found)]


@pytest.mark.rule("P6")
def test_a_project_that_is_not_there_is_never_an_empty_list(unleash):
    api = Api(unleash.url, Secret(ADMIN_TOKEN))
    elsewhere = UnleashProvider(connection(unleash), admin=Admin(api, "nowhere", "development"))
    with pytest.raises(ProviderError, match="no project") as refused:
        elsewhere.list()
    assert '"default"' in refused.value.hint


@pytest.mark.rule("P6")
def test_more_targets_than_unleash_takes_are_never_begun(unleash, console):
    flag = console.put(Flag.boolean(unleash.fresh_name(), percent=20), ANA)
    before = unleash.state(flag.key)
    with pytest.raises(Refused, match="31 strategies") as refused:
        console.set_targets(flag.key, "on", [f"user-{one}" for one in range(7_400)], ANA)
    assert "segment" in refused.value.hint
    assert unleash.state(flag.key) == before


@pytest.mark.rule("P5")
def test_a_parent_is_never_archived_under_its_child(unleash, console):
    parent = unleash.create(unleash.fresh_name("parent"), rollout())
    child = unleash.create(unleash.fresh_name("child"), rollout())
    path = f"/admin/projects/default/features/{child}/dependencies"
    unleash.ask("POST", path, {"feature": parent, "enabled": True})
    with pytest.raises(Refused, match=child):
        console.delete(parent, ANA)
    assert console.get(parent).on
    console.delete(child, ANA)
    console.delete(parent, ANA)
    assert console.get(parent) is None


@pytest.mark.rule("E7")
def test_everybody_is_never_only_those_with_a_key(unleash, console):
    """By `userId`, as a console may say, 100 % leaves out who has none."""
    flag = console.put(Flag.boolean(unleash.fresh_name(), on=False), ANA)
    console.set_rollout(flag.key, "on", 100_000, ANA)
    console.switch_on(flag.key, ANA)
    (one,) = unleash.state(flag.key)["strategies"]
    assert one["parameters"]["stickiness"] == "default"
    with client(managing(unleash), flag.key) as flags:
        assert flags.is_enabled(flag.key, None)
        assert flags.is_enabled(flag.key, "ada")


@pytest.mark.rule("E7", "P5")
def test_a_percentage_never_gives_the_flag_to_other_users_by_another_group(unleash, console):
    """As after a rename, when the group is the name that the flag had."""
    name = unleash.create(unleash.fresh_name(), rollout("40", title="downhaul:rollout"))
    people = [f"user-{one}" for one in range(200)]
    with client(managing(unleash), name) as flags:
        before = {one for one in people if flags.is_enabled(name, one)}
        console.set_rollout(name, "on", 60_000, ANA)
        (one,) = unleash.state(name)["strategies"]
        assert one["parameters"]["groupId"] == "g"
        eventually(
            lambda: before < {one for one in people if flags.is_enabled(name, one)},
            "more are served, and all who were",
        )


@pytest.mark.rule("P5")
def test_taking_the_last_strategy_away_never_switches_the_flag_off_on_the_way(unleash, console):
    name = unleash.create(unleash.fresh_name(), rollout("100", users("IN", "a", name="plan")))
    snapshot = console.snapshot(name)
    path = f"{unleash.flag_path(name)}/strategies"
    unleash.ask("POST", path, rollout("100", users("IN", "b", name="plan")))
    unleash.ask("DELETE", f"{path}/{unleash.state(name)['strategies'][0]['id']}")
    before = len(done_to(unleash, name))
    console.restore(snapshot, ANA)
    assert done_to(unleash, name)[before:] == ["feature-strategy-add", "feature-strategy-remove"]
    assert unleash.state(name)["enabled"]


@pytest.mark.rule("P6")
@pytest.mark.parametrize("share", ["12.5", "150", "abc", ""])
def test_a_percentage_that_means_nothing_is_never_read_as_one(unleash, console, share):
    name = unleash.create(unleash.fresh_name(), rollout(share, title="downhaul:rollout"))
    assert weight_of_variant(console.get(name), "on") == 0
    with client(provider(unleash), name) as flags:
        assert not any(flags.is_enabled(name, f"user-{one}") for one in range(200))
    console.set_rollout(name, "on", 100_000, ANA)
    assert console.get(name).default == "on"


def test_nothing_but_flags_is_asked_for_unless_metrics_are_wanted():
    feature = {"name": "f", "enabled": True, "strategies": [rollout()]}
    with (
        recording(feature) as (url, asked),
        client(at(url, refresh=0.1), "f") as flags,
    ):
        assert flags.is_enabled("f", "ada-the-secret-user")
        eventually(lambda: len(asked) > 3, "it was asked a few times")
    assert {(method, path) for method, path, _, _ in asked} == {("GET", "/api/client/features")}
    assert "ada-the-secret-user" not in repr(asked)


def test_metrics_never_tell_of_a_user():
    feature = {"name": "f", "enabled": True, "strategies": [rollout()]}
    with recording(feature) as (url, asked):
        with client(at(url, refresh=0.1, metrics=True), "f") as flags:
            context = {"targetingKey": "ada-the-secret-user", "plan": "a-secret-plan"}
            assert flags.is_enabled("f", context)
        eventually(
            lambda: any(path == "/api/client/metrics" for _, path, _, _ in asked),
            "counts are sent at the end",
        )
    (counts,) = (body for _, path, _, body in asked if path == "/api/client/metrics")
    assert json.loads(counts)["bucket"]["toggles"]["f"]["yes"] == 1
    assert "secret" not in "".join(body for _, _, _, body in asked)


def test_a_shadow_counts_nothing_beside_who_is_served():
    features = [
        {"name": "f", "enabled": True, "strategies": [rollout()]},
        {"name": "g", "enabled": True, "strategies": [rollout()]},
    ]
    with recording(*features) as (url, asked):
        shadowed = at(url, refresh=0.1, metrics=True)
        old = MemoryProvider(FlagSet.of([Flag.boolean("f")]))
        shadow = Shadow(old, shadowed, sample=1)
        with client(shadow) as flags:
            assert shadowed.wait_ready(10)
            eventually(lambda: flags.is_enabled("f") and shadow.report().comparing, "it compares")
            for number in range(20):
                flags.is_enabled("f", f"user-{number}")
            eventually(lambda: shadow.report().total(Outcome.MATCH) >= 20, "all is compared")
            shadowed.resolve("g", Context("ada"), FlagKind.BOOLEAN)  # so that there is something
        eventually(
            lambda: any(path == "/api/client/metrics" for _, path, _, _ in asked),
            "counts are sent at the end",
        )
    (counts,) = (body for _, path, _, body in asked if path == "/api/client/metrics")
    assert set(json.loads(counts)["bucket"]["toggles"]) == {"g"}


@pytest.mark.rule("P4")
def test_an_application_never_needs_what_may_change_flags(unleash):
    made = provider(unleash)
    assert made.capabilities == {Capability.RESOLVE, Capability.WATCH}
    assert ADMIN_TOKEN.partition(".")[2] not in repr(vars(made))
