"""All flags as the server tells them, with the SDK's token alone."""

import json
import socket
import time

import pytest
import responses
from downhaul_unleash.admin import Admin
from downhaul_unleash.api import Api
from downhaul_unleash.provider import UnleashProvider
from downhaul_unleash.session import Connection
from served_unleash import payload_of

from downhaul import Flag
from downhaul.config import Secret
from downhaul.errors import DocumentError, ProviderError, Unreachable
from downhaul.flag import Bucketing, Scheme, Split, Weight
from downhaul.ledger import Fidelity

URL = "https://unleash.example/api"
FEATURES = f"{URL}/client/features"
TOKEN = "*:development.very-secret"
MOVED = Flag(
    key="f",
    default=Split(
        (Weight("on", 25), Weight("off", 75)), Bucketing(Scheme.SPLIT, seed=17, total=100)
    ),
    on=True,
)


def provider(url=URL, admin=None, **fields):
    fields = {"deadline": 2.0, **fields}
    return UnleashProvider(Connection(url, Secret(TOKEN), **fields), admin=admin)


@pytest.fixture
def server():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.mark.rule("M1", "E9")
def test_one_request_with_the_sdks_token_brings_everything(server):
    segment = {"id": 7, "name": "beta", "constraints": []}
    server.get(FEATURES, json={**payload_of([MOVED]), "segments": [segment]})
    made = provider().export()
    assert [flag.key for flag in made.flags] == ["f"]
    assert made.flags[0].default == MOVED.default
    assert [one.key for one in made.segments] == ["unleash-7"]
    assert {entry.flag for entry in made.ledger} >= {"f"}
    (call,) = server.calls
    assert call.request.headers["Authorization"] == TOKEN
    assert call.request.headers["Unleash-Client-Spec"]  # or segments come written out


@pytest.mark.rule("P7")
@pytest.mark.parametrize("status, said", [(401, "401"), (403, "frontend"), (404, "/api")])
def test_a_token_or_a_url_that_will_not_do_is_told_apart(server, status, said):
    server.get(FEATURES, status=status, json={"message": f"no, {TOKEN}"})
    with pytest.raises(ProviderError) as refused:
        provider().export()
    assert not isinstance(refused.value, Unreachable)
    assert said in refused.value.message + (refused.value.hint or "")
    assert "very-secret" not in str(refused.value)
    assert len(server.calls) == 1


@pytest.mark.rule("P7")
def test_a_failure_is_tried_again(server):
    server.get(FEATURES, status=503)
    server.get(FEATURES, json=payload_of([MOVED]))
    assert provider().export().flags
    assert len(server.calls) == 2


@pytest.mark.rule("P7")
def test_a_server_that_answers_nothing_ends_at_the_deadline():
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(5)
        began = time.monotonic()
        with pytest.raises(Unreachable):
            provider(f"http://127.0.0.1:{hole.getsockname()[1]}/api", deadline=0.5).export()
        assert time.monotonic() - began < 2


def test_what_is_no_payload_is_refused(server):
    server.get(FEATURES, json={"toggles": []})
    with pytest.raises(DocumentError):
        provider().export()


def test_a_payload_from_a_file_is_exported_without_a_server():
    connection = Connection("file", None, bootstrap=json.dumps(payload_of([MOVED])))
    assert UnleashProvider(connection).export().flags[0].default == MOVED.default


def test_tags_come_from_the_admin_side_where_there_is_one(server):
    server.get(FEATURES, json=payload_of([MOVED]))
    tags = [
        {"featureName": "f", "tagType": "simple", "tagValue": "agents"},
        {"featureName": "f", "tagType": "team", "tagValue": "core"},
        {"featureName": "f", "tagType": "simple", "tagValue": "a,b"},
    ]
    export = {
        "features": [{"name": "f"}],
        "featureStrategies": [],
        "featureEnvironments": [],
        "featureTags": tags,
    }
    server.post(f"{URL}/admin/features-batch/export", json=export)
    admin = Admin(Api(URL, Secret("*:*.admin"), deadline=2.0), "default", "development")
    made = provider(admin=admin).export()
    assert made.flags[0].tags == ("agents", "team:core")
    (lost,) = [one for one in made.ledger.of("f") if one.fragment == "a,b"]
    assert lost.fidelity is Fidelity.SKIPPED
