"""A controller's health and counters over HTTP: asked for real, on a socket."""

import json
import urllib.error
import urllib.request

import pytest

from downhaul.rollout.serving import STALLED, Serving, exposition

HEALTH = {
    "owner": 'web-1:77:"x"',
    "environment": "production",
    "provider": "sqlite",
    "ready": True,
    "last_tick_seconds_ago": 0.25,
    "last_error": "",
}


class Watched:
    def __init__(self):
        self.said = dict(HEALTH)
        self.counted = {"ticks": 3.0, "tick_seconds": 0.125}

    def health(self):
        return self.said

    def counters(self):
        return self.counted


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watched():
    return Watched()


@pytest.fixture
def serving(watched, clock):
    with Serving(watched, clock=clock) as one:
        yield one


def ask(serving, path, method="GET"):
    request = urllib.request.Request(f"http://{serving.address}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def test_a_probe_hears_how_it_stands(serving):
    status, headers, body = ask(serving, "/healthz?verbose=1")
    assert (status, json.loads(body)["alive"]) == (200, True)
    assert headers["Content-Type"] == "application/json"
    assert headers["Cache-Control"] == "no-store"
    status, _, body = ask(serving, "/readyz")
    assert (status, json.loads(body)["owner"]) == (200, HEALTH["owner"])


def test_a_store_that_is_away_is_not_ready_and_alive_all_the_same(serving, watched, clock):
    watched.said["ready"] = False
    assert ask(serving, "/readyz")[0] == 503
    for _ in range(5):
        watched.counted["unreachable"] = watched.counted.get("unreachable", 0) + 1
        clock.now += STALLED - 1
        assert ask(serving, "/healthz")[0] == 200


def test_one_that_looks_no_more_is_not_alive(serving, watched, clock):
    assert ask(serving, "/healthz")[0] == 200
    clock.now += STALLED - 1
    assert ask(serving, "/healthz")[0] == 200
    clock.now += 2
    status, _, body = ask(serving, "/healthz")
    assert (status, json.loads(body)["alive"]) == (503, False)
    watched.counted["ticks"] += 1
    assert ask(serving, "/healthz")[0] == 200


def test_metrics_are_in_the_text_format(serving):
    status, headers, body = ask(serving, "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = body.splitlines()
    assert "downhaul_controller_ready 1" in lines
    assert "downhaul_controller_ticks_total 3" in lines
    assert "downhaul_controller_tick_seconds_total 0.125" in lines
    assert "downhaul_controller_errors_total 0" in lines
    assert "downhaul_controller_last_tick_age_seconds 0.25" in lines
    assert r'owner="web-1:77:\"x\""' in body


def test_every_metric_has_its_help_and_type_once():
    lines = exposition(HEALTH, {"ticks": 1.0, "odd_thing": float("inf")}).splitlines()
    named = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(named) == len(set(named))
    assert [line.split()[2] for line in lines if line.startswith("# HELP")] == named
    values = [line for line in lines if not line.startswith("#")]
    assert [one.split("{")[0].split()[0] for one in values] == named
    assert "downhaul_controller_odd_thing_total +Inf" in lines


def test_before_the_first_look_there_is_no_age(watched):
    watched.said |= {"ready": False, "last_tick_seconds_ago": None}
    text = exposition(watched.health(), {"odd": float("nan")})
    assert "age" not in text
    assert "downhaul_controller_ready 0" in text
    assert "downhaul_controller_odd_total NaN" in text


def test_another_path_is_not_found_and_names_those_there_are(serving):
    status, _, body = ask(serving, "/")
    assert status == 404
    assert json.loads(body)["paths"] == ["/healthz", "/readyz", "/metrics"]


def test_a_head_has_no_body(serving):
    status, headers, body = ask(serving, "/metrics", method="HEAD")
    assert (status, body) == (200, "")
    assert int(headers["Content-Length"]) > 100


def test_an_address_that_is_taken_is_an_error(serving, watched):
    host, _, port = serving.address.rpartition(":")
    with pytest.raises(OSError, match="in use"):
        Serving(watched, host, int(port))


def test_after_the_end_nobody_answers(watched):
    with Serving(watched) as one:
        assert ask(one, "/readyz")[0] == 200
    with pytest.raises(urllib.error.URLError):
        ask(one, "/readyz")


def test_it_listens_on_ipv6_where_there_is_any(watched):
    try:
        with Serving(watched, "::1") as one:
            assert one.address.startswith("[::1]:")
            assert ask(one, "/readyz")[0] == 200
    except OSError:
        pytest.skip("this machine has no IPv6")
