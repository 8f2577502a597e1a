"""The emulated service answers as the protocol says, and fails as it is told to."""

import json
import threading
import time

import pytest
import requests
from downhaul_emulators import LaunchDarklyEmulator
from downhaul_emulators.launchdarkly import boolean


@pytest.fixture
def service():
    with LaunchDarklyEmulator(sdk_key="sdk-k") as emulator:
        yield emulator


def get(service, path, key="sdk-k", **options):
    return requests.get(service.url + path, headers={"Authorization": key}, timeout=5, **options)


class Listening:
    """Reads a stream in a thread."""

    def __init__(self, service):
        self.events = []
        self.ended = threading.Event()
        self._answer = get(service, "/all", stream=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        name = ""
        try:
            for line in self._answer.iter_lines(decode_unicode=True):
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    self.events.append((name, json.loads(line.removeprefix("data: "))))
        except requests.RequestException:
            pass  # broken off, as a test asked for
        finally:
            self.ended.set()


def wait_for(holds):
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.parametrize("path", ["/all", "/sdk/latest-all"])
def test_another_key_is_refused(service, path):
    assert get(service, path, key="sdk-other").status_code == 401
    assert get(service, "/nowhere").status_code == 404


def test_a_stream_begins_with_everything_and_tells_each_change_in_order(service):
    service.put(boolean("one"))
    heard = Listening(service)
    service.put(boolean("two"))
    service.change("one", on=False)
    service.delete("two")
    wait_for(lambda: len(heard.events) == 4)
    (first, all_), *rest = heard.events
    assert (first, list(all_["data"]["flags"])) == ("put", ["one"])
    told = [(name, event["path"]) for name, event in rest]
    assert told == [("patch", "/flags/two"), ("patch", "/flags/one"), ("delete", "/flags/two")]
    assert rest[1][1]["data"]["version"] == 2
    assert rest[2][1]["version"] == 2


def test_polling_answers_304_while_nothing_changes(service):
    service.put(boolean("one"))
    first = get(service, "/sdk/latest-all")
    assert first.json()["flags"]["one"]["version"] == 1
    tag = {"Authorization": "sdk-k", "If-None-Match": first.headers["ETag"]}
    assert requests.get(f"{service.url}/sdk/latest-all", headers=tag, timeout=5).status_code == 304
    service.change("one", on=False)
    assert requests.get(f"{service.url}/sdk/latest-all", headers=tag, timeout=5).status_code == 200


def test_another_process_changes_flags_by_http(service):
    url = f"{service.url}/emulator/flags/one"
    assert requests.put(url, json=boolean("one"), timeout=5).json()["version"] == 1
    assert requests.put(url, json=boolean("one"), timeout=5).json()["version"] == 2
    assert requests.delete(url, timeout=5).status_code == 204
    assert requests.delete(url, timeout=5).status_code == 404
    assert service.flags == {}


def test_a_fault_is_met_as_often_as_was_said_and_heals(service):
    service.fail("latest-all", status=429, headers={"Retry-After": "3"}, times=2)
    answers = [get(service, "/sdk/latest-all") for _ in range(3)]
    assert [one.status_code for one in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "3"
    service.fail("latest-all", status=500)
    assert get(service, "/sdk/latest-all").status_code == 500
    service.heal()
    assert get(service, "/sdk/latest-all").status_code == 200
    assert len(service.requests) == 5


def test_silence_is_a_connection_that_is_never_answered(service):
    service.fail("latest-all", silent=True)
    with pytest.raises(requests.ReadTimeout):
        requests.get(f"{service.url}/sdk/latest-all", timeout=0.2)


def test_a_server_that_stops_breaks_everything_off_and_comes_back_on_the_same_port(service):
    heard = Listening(service)
    url = service.url
    service.stop()
    assert heard.ended.wait(20)
    with pytest.raises(requests.ConnectionError):
        get(service, "/sdk/latest-all")
    service.start()
    assert (service.url, get(service, "/sdk/latest-all").status_code) == (url, 200)
    service.stop()
    service.stop()


def test_streams_are_dropped_on_demand(service):
    heard = Listening(service)
    wait_for(lambda: heard.events)
    service.drop_streams()
    assert heard.ended.wait(20)


def patch(service, *instructions, query="", content="; domain-model=launchdarkly.semanticpatch"):
    body = {"environmentKey": "production", "instructions": list(instructions)}
    headers = {"Authorization": "api-emulated", "Content-Type": f"application/json{content}"}
    url = f"{service.url}/api/v2/flags/default/one{query}"
    return requests.patch(url, data=json.dumps(body), headers=headers, timeout=5)


def test_a_patch_is_done_whole_or_not_at_all_and_makes_a_new_version(service):
    service.put(boolean("one"))
    refused = patch(service, {"kind": "turnFlagOff"}, {"kind": "nonsense"})
    assert (refused.status_code, service.flags["one"]["on"]) == (400, True)
    assert patch(service, {"kind": "turnFlagOff"}, content="").status_code == 400
    assert (
        patch(service, {"kind": "turnFlagOff"}).json()["environments"]["production"]["version"] == 2
    )
    assert service.flags["one"]["on"] is False


def test_a_target_of_one_variation_is_not_taken_for_another(service):
    service.put(boolean("one", targets=[{"variation": 0, "values": ["ada"]}]))
    add = {"kind": "addTargets", "variationId": "one-1", "values": ["ada"]}
    assert patch(service, add).status_code == 400
    assert patch(service, {**add, "kind": "removeTargets", "variationId": "one-0"}, add).ok


def test_approvals_and_scheduled_changes_stand_in_the_way(service):
    service.put(boolean("one"))
    service.conflicts = True
    assert patch(service, {"kind": "turnFlagOff"}).status_code == 400
    assert patch(service, {"kind": "turnFlagOff"}, query="?ignoreConflicts=true").ok
    service.approvals = True
    assert patch(service, {"kind": "turnFlagOn"}, query="?ignoreConflicts=true").status_code == 405


def test_flags_are_made_listed_and_removed_by_the_rest_api(service):
    url = f"{service.url}/api/v2/flags/default"
    asked = {"headers": {"Authorization": "api-emulated"}, "timeout": 5}
    assert requests.post(url, json={"key": "one", "tags": ["ai"]}, **asked).status_code == 201
    assert requests.post(url, json={"key": "one"}, **asked).status_code == 409
    (one,) = requests.get(url, **asked).json()["items"]
    assert (one["tags"], one["environments"]["production"]["on"]) == (["ai"], False)
    assert requests.get(url, headers={"Authorization": "sdk-k"}, timeout=5).status_code == 401
    assert requests.delete(f"{url}/one", **asked).status_code == 204
    assert requests.get(f"{url}/one", **asked).status_code == 404
