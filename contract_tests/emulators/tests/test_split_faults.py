"""What the vendor's SDK makes of a service that fails, and what the wire looks like without it."""

import pytest
import requests
from downhaul_emulators.split import boolean, buckets
from splitio.exceptions import TimeoutException

# The SDK names its threads by methods that Python deprecates, and dies of it where warnings raise
pytestmark = pytest.mark.filterwarnings(r"ignore:set(Name|Daemon)\(\) is deprecated")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Make the SDK try again after a tenth of a second, and not after ten seconds."""
    monkeypatch.setattr("splitio.sync.synchronizer._ON_DEMAND_FETCH_BACKOFF_BASE", 0.1)


def changes(split, key=None, **query):
    headers = {"Authorization": f"Bearer {key or split.sdk_key}"}
    url = f"{split.sdk_url}/splitChanges"
    return requests.get(url, params={"since": -1, **query}, headers=headers, timeout=5)


@pytest.mark.parametrize("status", [401, 503])
def test_an_sdk_that_is_refused_is_not_ready_and_answers_control(split, sdk, status):
    split.put("agent", boolean(100))
    split.fail("splitChanges", status=status)
    with sdk(streaming=False) as factory:
        with pytest.raises(TimeoutException):
            factory.block_until_ready(0.2)
        assert factory.client().get_treatment("ada", "agent") == "control"


def test_another_key_is_refused(split):
    assert changes(split, key="other").status_code == 401
    assert changes(split, key=split.admin_token).status_code == 401


def test_a_service_that_never_answers_lets_no_sdk_be_ready(split, sdk):
    split.put("agent", boolean(100))
    split.fail("splitChanges", silent=True)
    with sdk(streaming=False, connectionTimeout=200) as factory:
        with pytest.raises(TimeoutException):
            factory.block_until_ready(0.3)
        split.heal()
        factory.block_until_ready(15)
        assert factory.client().get_treatment("ada", "agent") == "on"


def test_a_slow_service_is_waited_for(split, following):
    split.put("agent", boolean(100))
    split.fail("splitChanges", delay=0.3, times=1)
    with following() as client:
        assert client.get_treatment("ada", "agent") == "on"


def test_an_sdk_serves_on_while_the_service_is_gone_and_catches_up_after(
    split, following, wait_for, wait_until_it_streams
):
    split.put("agent", boolean(100))
    with following() as client:
        split.stop()
        wait_for(lambda: not split.listening())
        assert client.get_treatment("ada", "agent") == "on"
        split.kill("agent")
        split.start()
        wait_for(lambda: client.get_treatment("ada", "agent") == "off")
        wait_until_it_streams()


def test_an_sdk_that_gets_no_token_polls(split, sdk, wait_for):
    split.put("agent", boolean(100))
    split.fail("/v2/auth", status=401)
    with sdk(featuresRefreshRate=1) as factory:
        factory.block_until_ready(15)
        client = factory.client()
        split.kill("agent")
        wait_for(lambda: client.get_treatment("ada", "agent") == "off")
    assert not split.listening()


def test_an_sdk_that_was_sent_back_to_an_older_protocol_is_served_in_it(split, following):
    split.put("agent", boolean(100))
    split.fail("splitChanges", status=400, times=1)
    with following(streaming=False) as client:
        assert client.get_treatment("ada", "agent") == "on"
    specs = [one.query["s"] for one in split.requests if one.path == "/api/splitChanges"]
    assert specs[:2] == ["1.3", "1.1"]


def test_a_kill_is_obeyed_though_the_caches_do_not_know_of_it(split, following, wait_for):
    split.put("agent", boolean(100))
    with following() as client:
        split.lag = 1
        split.kill("agent")
        wait_for(lambda: client.get_treatment("ada", "agent") == "off")
        split.lag = 0


def test_answers_can_lag_behind_but_not_those_that_no_cache_gives(split):
    split.put("agent", boolean(10))
    first = split.definitions["agent"]["lastUpdateTime"]
    split.put("agent", boolean(20))
    second = split.definitions["agent"]["lastUpdateTime"]
    split.lag = 1
    old = changes(split, s="1.3", rbSince=-1).json()["ff"]
    assert (old["t"], old["d"][0]["conditions"][-1]["partitions"]) == (
        first,
        buckets(on=10, off=90),
    )
    assert changes(split, s="1.3", till=second).json()["ff"]["t"] == second
    ahead = changes(split, s="1.3", since=second).json()["ff"]
    assert (ahead["s"], ahead["t"], ahead["d"]) == (second, second, [])


def test_an_sdk_is_sent_what_changed_since_and_what_is_gone(split):
    split.put("one", boolean())
    split.put("two", boolean())
    whole = changes(split, s="1.3").json()["ff"]
    assert [one["name"] for one in whole["d"]] == ["one", "two"]
    assert (whole["s"], whole["t"]) == (-1, split.definitions["two"]["lastUpdateTime"])
    split.delete("one")
    rest = changes(split, s="1.3", since=whole["t"]).json()["ff"]
    assert [(one["name"], one["status"]) for one in rest["d"]] == [("one", "ARCHIVED")]
    assert rest["t"] > whole["t"]
    fresh = changes(split, s="1.3").json()["ff"]
    assert [one["name"] for one in fresh["d"]] == ["two"]
    assert fresh["t"] == rest["t"]


def test_older_protocols_are_served_flat(split):
    split.put("agent", boolean())
    answer = changes(split, s="1.1").json()
    assert set(answer) == {"splits", "since", "till"}
    assert answer["splits"][0]["name"] == "agent"


def test_wrong_questions_are_refused(split):
    assert changes(split, s="9.9").status_code == 400
    assert changes(split, since="then").status_code == 400
    headers = {"Authorization": f"Bearer {split.sdk_key}"}
    answer = requests.get(f"{split.sdk_url}/segmentChanges/no", headers=headers, timeout=5)
    assert answer.status_code == 404
    assert requests.get(f"{split.sdk_url}/nowhere", headers=headers, timeout=5).status_code == 404


def test_keys_of_a_segment_are_sent_as_they_changed(split, admin):
    admin.new_segment("beta", ["ada", "bob"])
    headers = {"Authorization": f"Bearer {split.sdk_key}"}
    url = f"{split.sdk_url}/segmentChanges/beta?since="
    first = requests.get(f"{url}-1", headers=headers, timeout=5).json()
    assert (first["added"], first["removed"], first["since"]) == (["ada", "bob"], [], -1)
    admin.keys("beta", "removeKeys", ["ada"])
    admin.keys("beta", "uploadKeys", ["eve", "ada"])
    admin.keys("beta", "removeKeys", ["bob"])
    then = requests.get(f"{url}{first['till']}", headers=headers, timeout=5).json()
    assert (then["added"], then["removed"]) == (["ada", "eve"], ["bob"])
    last = requests.get(f"{url}{then['till']}", headers=headers, timeout=5).json()
    assert (last["added"], last["removed"], last["till"]) == ([], [], then["till"])
