"""The stream tells SDKs of changes, and misbehaves as it is told to."""

import base64
import json
import time
import zlib

import pytest
import requests
from downhaul_emulators.split import boolean, buckets

# The SDK names its threads by methods that Python deprecates, and dies of it where warnings raise
pytestmark = pytest.mark.filterwarnings(r"ignore:set(Name|Daemon)\(\) is deprecated")


def asked(split, path):
    return [one for one in split.requests if one.path == path]


class Listening:
    """What comes on the stream, read without the SDK: names and messages, in order."""

    def __init__(self, split):
        headers = {"Authorization": f"Bearer {split.sdk_key}"}
        token = requests.get(f"{split.auth_url}/v2/auth?s=1.3", headers=headers, timeout=5).json()
        assert token["pushEnabled"] is True
        url = f"{split.streaming_url}/event-stream?v=1.1&accessToken={token['token']}"
        self._lines = requests.get(url, stream=True, timeout=5).iter_lines(decode_unicode=True)

    def next(self, kind):
        """Return the next message of a type, and skip those of others."""
        for line in self._lines:
            if line.startswith("data: "):
                envelope = json.loads(line.removeprefix("data: "))
                data = json.loads(envelope["data"])
                if data.get("type") == kind:
                    return data
        raise AssertionError(kind)


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("verb", ["kill", "patch"])
def test_a_kill_is_seen_within_a_second(split, admin, following, wait_for, inline, verb):
    split.inline = inline
    admin.create("agent", boolean(100))
    with following() as client:
        assert client.get_treatment("ada", "agent") == "on"
        began = time.monotonic()
        if verb == "kill":
            admin.kill("agent")
        else:
            admin.patch("agent", ("replace", "/killed", True))
        wait_for(lambda: client.get_treatment("ada", "agent") == "off")
        assert time.monotonic() - began < 1


def test_a_change_carries_the_changed_flag_with_it(split, admin):
    admin.create("agent", boolean(0))
    heard = Listening(split)
    before = admin.read("agent").json()["lastUpdateTime"]
    admin.patch("agent", ("replace", "/defaultRule", buckets(on=100)))
    told = heard.next("SPLIT_UPDATE")
    sent = json.loads(zlib.decompress(base64.b64decode(told["d"])))
    assert (told["c"], told["pcn"]) == (2, before)
    assert sent["changeNumber"] == told["changeNumber"] > before
    assert sent["conditions"][-1]["partitions"] == buckets(on=100)


def test_without_it_only_the_change_number_is_told(split, admin):
    split.inline = False
    admin.create("agent", boolean(0))
    heard = Listening(split)
    admin.patch("agent", ("replace", "/trafficAllocation", 50))
    told = heard.next("SPLIT_UPDATE")
    assert set(told) == {"type", "changeNumber"}


def test_a_kill_tells_what_is_served_from_now_on(split, admin):
    admin.create("agent", boolean(100))
    heard = Listening(split)
    admin.kill("agent")
    told = heard.next("SPLIT_KILL")
    assert (told["splitName"], told["defaultTreatment"]) == ("agent", "off")
    assert told["changeNumber"] == admin.read("agent").json()["lastUpdateTime"]
    admin.restore("agent")
    assert heard.next("SPLIT_UPDATE")["changeNumber"] > told["changeNumber"]


def test_a_change_in_another_environment_is_not_told(split, admin):
    admin.create("agent", boolean(0))
    heard = Listening(split)
    path = f"splits/ws/{split.workspace}/agent/environments/Staging"
    assert admin.call("POST", path, json=boolean(0)).status_code == 200
    admin.kill("agent")
    first = heard.next("SPLIT_KILL")
    assert first["changeNumber"] == admin.read("agent").json()["lastUpdateTime"]
    [update] = asked(split, "/event-stream")
    assert update.query["accessToken"]


def test_changes_that_arrive_backwards_leave_the_newest(split, admin, following, wait_for):
    admin.create("agent", boolean(0))
    admin.create("done", boolean(0))
    with following() as client:
        split.hold()
        admin.patch("agent", ("replace", "/defaultRule", buckets(on=100)))
        admin.patch("agent", ("replace", "/defaultRule", buckets(off=100)))
        assert client.get_treatment("ada", "agent") == "off"
        split.release(backwards=True)
        admin.patch("done", ("replace", "/defaultRule", buckets(on=100)))
        wait_for(lambda: client.get_treatment("ada", "done") == "on")
        assert client.get_treatment("ada", "agent") == "off"


def test_a_kill_that_comes_late_does_nothing(split, admin, following, wait_for):
    admin.create("agent", boolean(100))
    admin.create("done", boolean(0))
    with following() as client:
        late = {"type": "SPLIT_KILL", "splitName": "agent", "defaultTreatment": "off"}
        split.send({**late, "changeNumber": 1})
        admin.patch("done", ("replace", "/defaultRule", buckets(on=100)))
        wait_for(lambda: client.get_treatment("ada", "done") == "on")
        assert client.get_treatment("ada", "agent") == "on"


def test_a_change_that_was_lost_is_found_after_the_next_connection(
    split, admin, following, wait_for, wait_until_it_streams
):
    admin.create("agent", boolean(100))
    with following() as client:
        split.hold()
        admin.kill("agent")
        split.release(lose=True)
        assert client.get_treatment("ada", "agent") == "on"
        split.drop_streams()
        wait_for(lambda: client.get_treatment("ada", "agent") == "off")
        wait_until_it_streams()


@pytest.mark.parametrize("how", ["paused", "nobody publishes"])
def test_without_a_stream_to_rely_on_an_sdk_polls(split, admin, following, wait_for, how):
    admin.create("agent", boolean(100))
    with following(featuresRefreshRate=1) as client:
        before = len(asked(split, "/api/splitChanges"))
        if how == "paused":
            split.send_control("STREAMING_PAUSED")
        else:
            split.send_occupancy(0)
        wait_for(lambda: len(asked(split, "/api/splitChanges")) > before)
        split.hold()
        admin.kill("agent")
        wait_for(lambda: client.get_treatment("ada", "agent") == "off")


def test_an_expired_token_is_renewed(split, admin, following, wait_for, wait_until_it_streams):
    admin.create("agent", boolean(100))
    with following() as client:
        split.send_error(40142)
        wait_for(lambda: len(asked(split, "/event-stream")) == 2)
        wait_until_it_streams()
        tokens = {one.query["accessToken"] for one in asked(split, "/event-stream")}
        assert len(tokens) == 2
        admin.kill("agent")
        wait_for(lambda: client.get_treatment("ada", "agent") == "off")


def test_where_push_is_not_enabled_an_sdk_polls(split, admin, sdk, wait_for):
    split.streaming = False
    admin.create("agent", boolean(100))
    with sdk(featuresRefreshRate=1) as factory:
        factory.block_until_ready(15)
        admin.kill("agent")
        client = factory.client()
        wait_for(lambda: client.get_treatment("ada", "agent") == "off")
    assert asked(split, "/api/v2/auth")
    assert not asked(split, "/event-stream")


def test_a_token_that_the_service_did_not_give_opens_no_stream(split):
    answer = requests.get(f"{split.streaming_url}/event-stream?accessToken=x.y.z", timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (401, 40101)
