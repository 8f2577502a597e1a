"""Sources that are asked over HTTP: whatever a server answers, or doesn't, is told and holds."""

import json
import re
import socket
import time
from dataclasses import replace

import pytest
from answering import FAILURES, Answering, Reply, took
from datadog_server import APP, KEY, DatadogServer

from downhaul.analysis import patience
from downhaul.analysis.model import Counts, Window
from downhaul.analysis.sources import source_for
from downhaul.backends.sqlite import database_at
from downhaul.errors import ConfigError, DownhaulError, Unreachable

SECOND = 1_000_000
START = 1_774_688_400 * SECOND
WINDOW = Window(START, START + 10 * SECOND)
TOKEN = "token-of-the-metrics-0815"
SOURCES = {
    "prometheus": {"requests": "web_total", "errors": {"code": "500"}, "token": {"env": "TOKEN"}},
    "http": {"token": {"env": "TOKEN"}, "method": "post"},
    "datadog": {
        "requests": "web.requests",
        "errors": {"status": "error"},
        "api_key": {"env": "KEY"},
        "app_key": {"env": "APP"},
    },
}


@pytest.fixture
def control(tmp_path):
    database = database_at(tmp_path / "control.db")
    database.create()
    yield database
    database.engine.dispose()


@pytest.fixture(autouse=True)
def around(monkeypatch):
    monkeypatch.setattr(patience, "REST", 0.2)
    for name, value in (("TOKEN", TOKEN), ("KEY", KEY), ("APP", APP)):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server():
    made = Answering(lambda asked: Reply({}))
    yield made
    made.close()


@pytest.fixture(params=sorted(SOURCES))
def name(request):
    return request.param


@pytest.fixture
def make(control):
    def made(name, url, **more):
        metrics = {"source": name, "url": url, "timeout": 2, **SOURCES[name], **more}
        return source_for(metrics, control, "production")

    return made


def refused(source, thresholds=(), window=WINDOW):
    with pytest.raises(DownhaulError) as caught:
        source.sample("agent", window, thresholds)
    text = f"{caught.value} {caught.value!r}"
    for secret in (TOKEN, KEY, APP):
        assert secret not in text
    return caught.value


# --- all of them


@pytest.mark.rule("R5", "X1", "P7")
@pytest.mark.parametrize("reply,message,hint", FAILURES)
def test_what_a_server_answers_instead_is_told_with_what_to_do(
    server, make, name, reply, message, hint
):
    server.answer = lambda asked: reply
    error = refused(make(name, server.url))
    assert re.search(message, error.message), error.message
    assert re.search(hint, error.hint), error.hint
    if reply.status in (405, 501):
        return
    assert len(server.asked) == 1


def test_a_server_that_repeats_the_secret_shows_it_to_nobody(server, make, name):
    own = (KEY, APP) if name == "datadog" else (TOKEN, f"Bearer {TOKEN}")
    server.answer = lambda asked: Reply({"error": f"bad keys: {' and '.join(own)}"}, 401)
    assert "bad keys: *** and ***" in refused(make(name, server.url)).message


@pytest.mark.rule("R5")
@pytest.mark.parametrize("way", ["silent", "slowly", "name"])
def test_however_a_server_hangs_the_call_ends_in_time(server, make, name, way, monkeypatch):
    if way == "silent":
        server.silent.set()
    if way == "slowly":
        server.answer = lambda asked: Reply({"status": "success"}, slowly=0.2)
    if way == "name":
        original = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: time.sleep(3) or original(*a))
    begun = time.monotonic()
    error = refused(make(name, server.url, timeout=0.5))
    assert took(begun) < 1.5
    assert "within 0.5 s" in error.message
    again = time.monotonic()
    assert "did not answer 0 s ago" in refused(make(name, server.url, timeout=0.5)).message
    assert took(again) < 0.1


def test_a_place_that_kept_us_waiting_rests_longer_each_time_and_wakes_up_at_an_answer(
    server, make, monkeypatch
):
    monkeypatch.setattr(patience, "LONGEST_REST", 0.5)
    source = make("http", server.url, timeout=0.2)
    server.silent.set()
    rests = []
    for _ in range(4):
        error = refused(source)
        assert "within 0.2 s" in error.message
        rests.append(patience._rests[error.message.partition(" did not")[0]].seconds)
        time.sleep(rests[-1] + 0.05)
    assert rests == [0.2, 0.4, 0.5, 0.5]
    server.silent.clear()
    refused(source)  # an answer, if none that can be read
    assert not any(server.url in place for place in patience._rests)


def test_an_answer_without_an_end_is_cut_off(server, make, name, monkeypatch):
    from downhaul.analysis import web

    monkeypatch.setattr(web, "_LARGEST", 1000)
    server.answer = lambda asked: Reply(text="x" * 200_000)
    assert "answers with more than" in refused(make(name, server.url)).message


def test_what_a_netrc_has_is_not_sent(server, make, name, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password stolen\n")
    monkeypatch.setenv("NETRC", str(netrc))
    refused(make(name, server.url))
    headers = {key.lower(): value for key, value in server.asked[0].headers.items()}
    expected = None if name == "datadog" else f"Bearer {TOKEN}"
    assert headers.get("authorization") == expected


def test_headers_may_be_kept_elsewhere(server, make, name, monkeypatch):
    monkeypatch.setenv("TENANT", "team-7-secret")
    headers = {"X-Scope-OrgID": {"env": "TENANT"}, "X-Plain": "yes"}
    server.answer = lambda asked: Reply({"error": "no team-7-secret here"}, 403)
    error = refused(make(name, server.url, headers=headers))
    assert server.asked[0].headers["X-Scope-OrgID"] == "team-7-secret"
    assert server.asked[0].headers["X-Plain"] == "yes"
    assert "team-7-secret" not in str(error)


@pytest.mark.rule("P7", "X1")
@pytest.mark.parametrize(
    "more,words",
    [
        ({"url": "http://ana:geheim@metrics.internal"}, r"metrics\.url: holds a secret"),
        ({"url": "http://metrics.internal?token=geheim"}, r"metrics\.url: holds a secret"),
        ({"url": "metrics.internal"}, r"metrics\.url: is no http:// or https:// URL"),
        ({"url": "ftp://metrics.internal"}, r"metrics\.url: is no http"),
        ({"url": "http://metrics.internal:port"}, r"metrics\.url: is no http"),
        ({"url": 3}, r"metrics\.url: is not of this form"),
        ({"timeout": 0}, r"metrics\.timeout"),
        ({"timeout": 60}, r"metrics\.timeout.*less than or equal to 8"),
        ({"lag": -1}, r"metrics"),
        ({"lag": "5s"}, r"metrics\.lag: should be a number"),
        ({"headers": {"Authorization": "geheim"}}, r"headers: the header .* is not for plans"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, r"should be one line"),
        ({"headers": {"X A": "a"}}, r"no name of a header"),
        ({"variants": {"a": "1", "b": "1"}}, r'"1" stands for "a" already'),
        ({"urll": "x"}, r'metrics\.urll: .*did you mean "url"'),
    ],
)
def test_what_a_plan_cannot_say_is_told(make, name, more, words):
    with pytest.raises(ConfigError, match=words) as caught:
        make(name, **{"url": "http://metrics.internal", **more})
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "kept,words",
    [
        ("geheim", r"holds a secret, and plans are kept and shown"),
        ({"env": ""}, r"is not of this form"),
        ({"vault": "x"}, r"is not of this form"),
        ({"file": "token"}, r'"token" is another file in each folder'),
    ],
)
def test_a_secret_is_kept_elsewhere(make, name, kept, words):
    field = "api_key" if name == "datadog" else "token"
    with pytest.raises(ConfigError, match=rf"metrics\.{field}: {words}") as caught:
        make(name, "http://metrics.internal", **{field: kept})
    assert "geheim" not in str(caught.value)


def test_a_secret_in_a_file_is_read_anew_each_time(server, make, tmp_path):
    file = tmp_path / "token"
    source = make("http", server.url, token={"file": str(file)})
    assert re.search(r"metrics\.token: the file .* can't be read: No such", str(refused(source)))
    file.write_text("\n")
    assert "is empty" in str(refused(source))
    for token in ("first-token", "second-token"):
        file.write_text(f"{token}\n")
        refused(source)
        assert server.asked[-1].headers["Authorization"] == f"Bearer {token}"
    file.write_text("two\nlines-of-it")
    error = refused(source)
    assert "is not one line of plain text" in error.message
    assert "lines-of-it" not in str(error)


def test_an_address_may_come_out_of_the_environment(server, make, monkeypatch):
    source = make("http", {"env": "METRICS_URL"}, token=None)
    assert "is not set" in str(refused(source))
    monkeypatch.setenv("METRICS_URL", "not-an-address")
    assert "what METRICS_URL holds is no http://" in str(refused(source))
    host = server.url.removeprefix("http://")
    monkeypatch.setenv("METRICS_URL", f"http://eve:geheim-1@{host}/counts")
    error = refused(source)
    assert "geheim-1" not in str(error)
    assert "ZXZl" not in str(error)
    assert server.asked[-1].path == "/counts"
    assert server.asked[-1].headers["Authorization"] == "Basic ZXZlOmdlaGVpbS0x"
    assert server.url in error.message


# --- Prometheus


def matrix(*series):
    return Reply({"status": "success", "data": {"resultType": "matrix", "result": list(series)}})


def one_series(values, **labels):
    metric = {"__name__": "web_total", "variant": "on", "code": "200", **labels}
    return {"metric": metric, "values": values}


def at(seconds):
    return START / SECOND + seconds


@pytest.mark.rule("R5")
@pytest.mark.parametrize(
    "reply,words",
    [
        (matrix(one_series([[at(1), "NaN"]])), r"web_total\{.*\} holds NaN, and no counter does"),
        (matrix(one_series([[at(1), "+Inf"]])), "holds .Inf"),
        (matrix(one_series([[at(1), "-3"]])), "holds -3, and no counter does"),
        (matrix(one_series([[at(1), "many"]])), "which is no sample"),
        (matrix(one_series([[at(1)]])), "which is no sample"),
        (matrix(one_series([["soon", "1"]])), "which is no sample"),
        (matrix(one_series("x")), "a series without values"),
        (matrix({"values": []}), "a series without labels"),
        (matrix({"metric": {"variant": "on"}, "histograms": []}), "is a native histogram"),
        (Reply({"status": "success", "data": {"resultType": "vector", "result": []}}), "no matrix"),
        (Reply({"status": "success", "data": {"resultType": "matrix"}}), "no list of series"),
        (Reply({"status": "success"}), "no success"),
        (Reply({"status": "error", "error": "query timed out"}), "no success: query timed out"),
        (Reply([]), "no success"),
        (Reply("x"), "no success"),
        (Reply(3), "no success"),
    ],
)
def test_an_answer_of_prometheus_that_can_not_be_is_told(server, make, reply, words):
    server.answer = lambda asked: reply
    assert re.search(words, refused(make("prometheus", server.url)).message)


def test_nothing_is_no_counts_and_no_failure(server, make):
    server.answer = lambda asked: matrix()
    sample = make("prometheus", server.url).sample("agent", WINDOW, ())
    assert sample.arms == {}
    assert len(server.asked) == 1


def test_a_query_has_raw_samples_and_both_edges_and_no_rate(server, make):
    def answer(asked):
        if "last_over_time" in asked.params["query"]:
            series = {"metric": one_series([])["metric"], "value": [at(0), "5"]}
            data = {"resultType": "vector", "result": [series]}
            return Reply({"status": "success", "data": data, "warnings": ["a store was away"]})
        reply = matrix(one_series([[at(-0.001), "1"], [at(0), "7"], [at(9.999), "8"]]))
        reply.data["infos"] = ["metric might not be a counter"]
        return reply

    server.answer = answer
    source = make("prometheus", f"{server.url}/prefix/", params={"partial_response": "false"})
    sample = source.sample("agent", WINDOW, ())
    first, second = server.asked
    assert {one.path for one in server.asked} == {"/prefix/api/v1/query"}
    assert first.params["query"].endswith("[10000ms]")
    assert first.params["time"] == f"{at(9.999):.3f}"
    assert second.params["time"] == f"{at(-0.001):.3f}"
    assert all("rate" not in one.params["query"] for one in server.asked)
    assert all("increase" not in one.params["query"] for one in server.asked)
    assert all(one.params["partial_response"] == "false" for one in server.asked)
    assert all(re.fullmatch(r"\d+ms", one.params["timeout"]) for one in server.asked)
    assert sample.arms == {"on": Counts(3, 0, 3)}  # from 5 to 8: the value at -1 ms is before it
    assert set(sample.warnings) == {"metric might not be a counter", "a store was away"}


def test_where_nothing_may_be_posted_it_is_asked_by_get(server, make):
    server.answer = lambda asked: Reply({}, 405) if asked.method == "POST" else matrix()
    assert make("prometheus", server.url).sample("agent", WINDOW, ()).arms == {}
    assert [one.method for one in server.asked] == ["POST", "GET"]
    assert server.asked[0].params["query"] == server.asked[1].params["query"]


def test_a_server_whose_clock_is_behind_the_window_is_told(server, make):
    late = {"Date": "Sat, 28 Mar 2026 09:00:07 GMT"}  # three seconds before the window's end
    server.answer = lambda asked: replace(matrix(), headers=late)
    error = refused(make("prometheus", server.url))
    assert "is behind the control store's" in error.message
    assert "metrics.lag" in error.hint


@pytest.mark.parametrize("apart,words", [(-60, "60 s behind"), (-5, "5 s behind"), (90, "90 s ah")])
def test_clocks_that_are_apart_are_told_before_a_rollout_starts(server, make, apart, words):
    def answer(asked):
        if asked.path.endswith("/labels"):
            return Reply({"status": "success", "data": ["__name__", "variant", "code"]})
        if asked.path.endswith("/metadata"):
            return Reply({"status": "success", "data": {}})
        if asked.params["query"] == "time()":
            now = time.time() + apart
            data = {"resultType": "scalar", "result": [now, str(now)]}
            return Reply({"status": "success", "data": data})
        return matrix()

    server.answer = answer
    source = make("prometheus", server.url)
    if apart == -60:
        with pytest.raises(ConfigError, match=words):
            source.probe("agent", ())
    else:
        assert any(words in one for one in source.probe("agent", ()))


def test_basic_authentication(server, make, monkeypatch):
    monkeypatch.setenv("PASSWORD", "geheim-pass")
    source = make(
        "prometheus", server.url, token=None, username="ana", password={"env": "PASSWORD"}
    )
    error = refused(source)
    assert server.asked[0].headers["Authorization"] == "Basic YW5hOmdlaGVpbS1wYXNz"
    assert "YW5h" not in str(error)


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "more,words",
    [
        ({"requests": ""}, "name the counter of requests"),
        ({"requests": "web{a=1}"}, "no name of a metric"),
        ({"errors": {}}, "neither what an error is nor what a success is"),
        ({"error_counter": "x"}, "errors are said twice"),
        ({"errors": {"code": {"regex": "("}}}, "no regular expression"),
        ({"errors": {"code": {"like": "5"}}}, "nothing that a label is equal to"),
        ({"errors": {"a-b": "5"}}, "no name of a label"),
        ({"errors": {"code": []}}, "nothing that a label is equal to"),
        ({"errors": "5.."}, "is a table of labels"),
        ({"labels": {"varaint": "x"}}, 'no label is read for "varaint".*did you mean "variant"'),
        ({"labels": {"variant": "a b"}}, "no name of a label"),
        ({"labels": []}, "is a table"),
        ({"username": "ana"}, "a token and a password"),
        ({"token": None, "username": "ana"}, "a username goes with a password"),
        ({"params": {"time": "0"}}, "the parameter time is ours"),
        ({"look_back": 1}, r"look_back"),
        ({"new_series": "maybe"}, r"new_series"),
        ({"latency_unit": "m"}, r"latency_unit"),
    ],
)
def test_what_a_plan_cannot_say_of_prometheus_is_told(make, more, words):
    with pytest.raises(ConfigError, match=words):
        make("prometheus", "http://metrics.internal", **more)


# --- a service of one's own


def answered(**more):
    arm = {"requests": 10, "errors": 2, "timed": 4, "latency_ms": 100.5, "slow": {"50": 1}, **more}
    return Reply({"window": {"since": WINDOW.since, "until": WINDOW.until}, "arms": {"on": arm}})


def test_what_a_service_answers_is_counted(server, make):
    server.answer = lambda asked: answered()
    sample = make("http", server.url).sample("agent", WINDOW, (50.0,))
    assert sample.arms == {"on": Counts(10, 2, 8, 4, 100.5, {50.0: 1})}
    assert server.asked[0].json == {
        "flag": "agent",
        "environment": "production",
        "since": WINDOW.since,
        "until": WINDOW.until,
        "thresholds": [50.0],
        "preview": False,
        "arms": [],
    }
    assert sample.query == f"POST {server.url}"


def test_variants_of_a_service_lead_to_ours(server, make):
    reply = answered()
    reply.data["arms"] = {"2.0": {"requests": 1, "errors": 0}, "2.1": {"requests": 2, "errors": 1}}
    server.answer = lambda asked: reply
    source = make("http", server.url, variants={"v2": ["2.0", "2.1"]})
    assert source.sample("agent", WINDOW, ()).arms == {"v2": Counts(3, 1, 2)}
    assert server.asked[0].json["arms"] == ["2.0", "2.1"]


def test_a_service_may_answer_for_the_beginning_of_a_window(server, make):
    reply = answered()
    reply.data["window"]["until"] = WINDOW.since + 1
    server.answer = lambda asked: reply
    sample = make("http", server.url).sample("agent", WINDOW, (50.0,))
    assert sample.window == Window(WINDOW.since, WINDOW.since + 1)


@pytest.mark.rule("R5", "X1")
@pytest.mark.parametrize(
    "reply,words",
    [
        (answered(errors=12), "arms.on: 12 errors in 10 requests"),
        (answered(successes=11), "11 successes in 10 requests"),
        (answered(timed=11), "11 timed in 10 requests"),
        (answered(timed=0), "no request has a latency"),
        (answered(slow={"50": 5}), "5 took longer than 50 ms, of 4 with a latency"),
        (answered(slow={}), "slow has nothing for 50"),
        (answered(slow={"fast": 1}), '"fast" is no threshold'),
        (answered(requests=1.5), "arms.on.requests should be a valid integer, not 1.5"),
        (answered(requests="10"), "arms.on.requests"),
        (answered(requests=-1), "greater than or equal to 0"),
        (answered(requests=True), "arms.on.requests"),
        (answered(latency_ms=-1), "arms.on.latency_ms"),
        (answered(error_rate=0.2), "arms.on.error_rate is a field that nobody reads"),
        (Reply({"arms": {}}), "window is missing"),
        (Reply({"window": {"since": 0, "until": 1}, "arms": {}}), "is there a cache in between"),
        (Reply([]), "the answer"),
        (Reply(text='{"window": NaN}'), "window"),
    ],
)
def test_an_answer_of_a_service_that_can_not_be_is_told(server, make, reply, words):
    server.answer = lambda asked: reply
    error = refused(make("http", server.url), (50.0,))
    assert "answers with counts that can't be" in error.message
    assert re.search(words, error.message), error.message


def test_an_answer_for_more_than_was_asked_is_refused(server, make):
    reply = answered()
    reply.data["window"]["until"] = WINDOW.until + 1
    server.answer = lambda asked: reply
    assert "was asked for" in refused(make("http", server.url)).message
    reply.data["window"]["until"] = WINDOW.since - 1
    assert "was asked for" in refused(make("http", server.url)).message
    reply.data |= {"window": {"since": WINDOW.since, "until": WINDOW.until}}
    reply.data["arms"] = {str(one): {"requests": 1, "errors": 0} for one in range(101)}
    assert "are they variants" in refused(make("http", server.url)).message


PEOPLE = {
    "users": 5,
    "new_users": 4,
    "error_users": 1,
    "failed_users": 2,
    "slow_users": {"50": 1},
    "anonymous": 3,
}


@pytest.mark.parametrize(
    "more,words",
    [
        ({"users": None}, "users is missing, and was asked for"),
        ({"slow_users": None}, "slow_users is missing"),
        ({"new_users": None}, "new_users is missing"),
        ({"error_users": 6}, "6 error_users of 5 users"),
        ({"slow_users": {}}, "slow_users has nothing for 50"),
        ({"slow_users": {"50": 6}}, "6 slow_users of 5 users"),
        ({"anonymous": 6}, "5 users and 6 anonymous in 10 requests"),
    ],
)
def test_people_are_read_as_strictly(server, make, more, words):
    source = make("http", server.url, users=True)
    server.answer = lambda asked: answered(**PEOPLE)
    sample = source.sample("agent", WINDOW, (50.0,), users_since=START)
    assert sample.arms["on"] == Counts(10, 2, 8, 4, 100.5, {50.0: 1}, 5, 4, 1, 2, {50.0: 1}, 3)
    assert server.asked[-1].json["users_since"] == START
    server.answer = lambda asked: answered(**{**PEOPLE, **more})
    with pytest.raises(Unreachable, match=words):
        source.sample("agent", WINDOW, (50.0,), users_since=START)
    source.sample("agent", WINDOW, (50.0,))  # who was not asked for is nobody's business


def test_a_service_that_counts_no_people_is_told_before_a_rollout_starts(server, make):
    source = make("http", server.url)
    assert not source.counts_users
    with pytest.raises(ConfigError, match=r"doesn't know who asked.*users = true"):
        source.probe("agent", (), users=True)
    server.answer = lambda asked: Reply(
        {
            "window": {"since": asked.json["since"], "until": asked.json["until"]},
            "arms": {},
            "warnings": ["the log is an hour behind"],
        }
    )
    assert source.probe("agent", ()) == ("the log is an hour behind",)


# --- Datadog


@pytest.fixture
def datadog():
    made = DatadogServer()
    yield made
    made.close()


def test_datadog_is_asked_for_counts_of_whole_points(datadog, make):
    source = make(
        "datadog",
        datadog.url,
        latency="web.latency",
        latency_unit="s",
        where={"env": ["prod", "eu"], "service": "web", "host": {"not": "canary"}},
        tags={"variant": "version", "flag": "flag"},
        interval=30,
    )
    sample = source.sample("New Agent/2", Window(START, START + 60 * SECOND), (500.0,))
    scope = "env IN (prod, eu) AND service:web AND NOT host:canary AND flag:new_agent/2"
    by, end = "by {version}.as_count().rollup(sum, 30)", "by {version}.rollup(sum, 30)"
    assert sample.query.split("; ") == [
        f"sum:web.requests{{{scope}}} {by}",
        f"sum:web.requests{{{scope} AND status:error}} {by}",
        f"count:web.latency{{{scope}}} {by}",
        f"sum:web.latency{{{scope}}} {end}",
        f"count(v: v>0.5):web.latency{{{scope}}} {by}",
    ]
    asked = datadog.asked[0].json["data"]["attributes"]
    assert (asked["from"], asked["to"], asked["interval"]) == (
        START // 1000,
        START // 1000 + 60_000,
        30_000,
    )
    assert "rate" not in json.dumps(asked)


def test_a_point_is_in_the_window_that_it_begins_in(datadog, make):
    source = make("datadog", datadog.url)
    for seconds, many in ((0, 3), (9.9, 4), (10, 5), (25, 6)):
        tags = {"variant": "on", "status": "ok"}
        datadog.counts["web.requests"].append((START / SECOND + seconds, tags, many))
    counted = {}
    for since, until in ((0, 10), (10, 20), (20, 30), (3, 10), (3, 12), (12, 30), (0, 30)):
        window = Window(START + since * SECOND, START + until * SECOND)
        arms = source.sample("agent", window, ()).arms
        counted[since, until] = arms["on"].requests if arms else 0
    assert counted == {
        (0, 10): 7, (10, 20): 5, (20, 30): 6,
        (3, 10): 0, (3, 12): 5, (12, 30): 6, (0, 30): 18,
    }  # fmt: skip
    asked = len(datadog.asked)
    assert source.sample("agent", Window(START + 1, START + 9), ()).arms == {}
    assert len(datadog.asked) == asked  # no point begins in it


def test_a_long_absence_is_counted_in_pieces_and_joined_points_are_refused(datadog, make):
    source = make("datadog", datadog.url)
    sample = source.sample("agent", Window(START, START + 86_400 * SECOND), ())
    assert sample.window == Window(START, START + 3000 * SECOND)
    joined = {
        "times": [START // 1000 + 60_000 + 5],
        "values": [[1]],
        "series": [{"group_tags": ["variant:on"], "query_index": 0}],
    }
    datadog.answer = lambda asked: Reply({"data": {"attributes": joined}})
    assert "it has joined them" in refused(source).message


def test_the_watermark_goes_by_whole_points(datadog, make, control):
    source = make("datadog", datadog.url, interval=60)
    now = int(control.scalar(control.dialect.microseconds))
    mark = source.watermark()
    assert mark % (60 * SECOND) == 0
    assert 0 < now - mark - 120 * SECOND <= 61 * SECOND


def datadog_says(**more):
    series = [{"group_tags": ["variant:on"], "query_index": 0}]
    attributes = {"times": [START // 1000], "values": [[1.0]], "series": series, **more}
    return Reply({"data": {"attributes": attributes}})


@pytest.mark.rule("R5")
@pytest.mark.parametrize(
    "reply,words",
    [
        (Reply({}), "no table data"),
        (Reply({"data": {}}), "no table attributes"),
        (Reply([]), "no table data"),
        (Reply({"errors": "partial failure", "data": {}}), "errors: partial failure"),
        (datadog_says(times=None), "no list times"),
        (datadog_says(values=[]), "1 series and 0 lists of values"),
        (datadog_says(values=[[1.0, 2.0]]), "don't fit their times"),
        (datadog_says(values=[["1"]]), "which is no count"),
        (datadog_says(values=[[-1]]), "which is no count"),
        (datadog_says(values=[[True]]), "which is no count"),
        (datadog_says(times=["soon"]), "which is no time"),
        (datadog_says(series=[{"group_tags": ["variant:on"], "query_index": 7}]), "no query that"),
        (datadog_says(series=[3]), "no query that"),
    ],
)
def test_an_answer_of_datadog_that_can_not_be_is_told(server, make, reply, words):
    server.answer = lambda asked: reply
    assert re.search(words, refused(make("datadog", server.url)).message)


def test_what_has_no_tag_is_nobodys_and_a_missing_point_is_nothing(server, make):
    series = [
        {"group_tags": ["variant:N/A"], "query_index": 0},
        {"group_tags": [], "query_index": 0},
        {"group_tags": ["variant:2.0"], "query_index": 0},
    ]
    values = [[9.0], [9.0], [None]]
    server.answer = lambda asked: datadog_says(series=series, values=values)
    source = make("datadog", server.url, variants={"v2": 2.0})
    assert source.sample("agent", WINDOW, ()).arms == {"v2": Counts()}


def test_what_datadog_has_not_yet_is_odd_and_no_error(datadog, make):
    datadog.counts["web.requests"] = []
    source = make("datadog", datadog.url, errors={}, error_count="web.errors")
    assert source.probe("agent", ()) == [
        'Datadog has no metric "web.errors" yet: is it made at the first error?'
    ]
    (odd,) = make("datadog", datadog.url).probe("agent", ())
    assert "nothing was counted lately" in odd
    datadog.may_look_up = False
    (odd,) = make("datadog", datadog.url).probe("agent", ())
    assert "was not looked at" in odd
    with pytest.raises(ConfigError, match=r"metrics\.latency is missing"):
        make("datadog", datadog.url).probe("agent", (100.0,))
    datadog.may_look_up = True
    datadog.counts["web.latency"] = []
    with pytest.raises(ConfigError, match="is a count, and no distribution"):
        make("datadog", datadog.url, latency="web.latency").probe("agent", (100.0,))


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "more,words",
    [
        ({"requests": ""}, "name the count of requests"),
        ({"requests": "web requests"}, "no name of a metric"),
        ({"errors": {}}, "say what an error is, in one way"),
        ({"error_count": "x"}, "say what an error is, in one way"),
        ({"errors": {"status": "a b"}}, "no value that Datadog keeps in a tag"),
        ({"errors": {"status": "x} by {host"}}, "no value that Datadog keeps in a tag"),
        ({"errors": {"sta tus": "x"}}, "no name of a tag"),
        ({"where": {"env": {"like": "x"}}}, "nothing that a tag is equal to"),
        ({"tags": {"vairant": "x"}}, 'did you mean "variant"'),
        ({"site": "https://datadoghq.eu"}, "no site of Datadog"),
        ({"lag": 5}, "the lag is shorter than the time that one point is of"),
        ({"interval": 0}, r"metrics\.interval"),
    ],
)
def test_what_a_plan_cannot_say_of_datadog_is_told(make, more, words):
    with pytest.raises(ConfigError, match=words):
        make("datadog", "http://metrics.internal", **more)


def test_without_a_url_it_is_the_sites_own_api(control):
    source = source_for(
        {"source": "datadog", "site": "us5.datadoghq.com", **SOURCES["datadog"]},
        control,
        "production",
    )
    assert source._web.address.url() == "https://api.us5.datadoghq.com"
