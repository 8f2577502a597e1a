"""What the provider says and serves while the server is not there, or not its own."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from downhaul_unleash.provider import UnleashProvider
from downhaul_unleash.session import Connection
from fixtures_unleash import BACKEND_TOKEN, FRONTEND_TOKEN
from strategies_unleash import rollout
from stubs_unleash import client, connection, eventually, provider

from downhaul import Flags
from downhaul.config import Secret
from downhaul.provider import State
from downhaul.result import ErrorCode

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("unleash")]


@contextmanager
def black_hole():
    """An address that takes connections and answers nothing."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(50)
        yield f"http://127.0.0.1:{one.getsockname()[1]}/api"


def at(url, token=BACKEND_TOKEN, **fields):
    made = {"refresh": 0.2, "request_timeout": 1.0, **fields}
    return UnleashProvider(Connection(url, Secret(token), environment="development", **made))


@pytest.mark.rule("P1", "P2")
@pytest.mark.parametrize(
    "token, said",
    [
        ("*:development.wrong", "401"),
        ("", "401"),
        (FRONTEND_TOKEN, "403"),
    ],
)
def test_a_refused_token_is_never_ready_and_is_told(unleash, token, said):
    with client(provider(unleash, token=token), ready_within=0.0) as flags:
        made = flags.evaluate("anything", "ada", default=True)
        assert (made.value, made.error_code) == (True, ErrorCode.PROVIDER_NOT_READY)
        eventually(lambda: flags.status().state is State.ERROR, "it is told")
        status = flags.status().provider
        assert said in status.message
        assert not token or token.partition(".")[2] not in repr(status)
        assert not flags.wait_ready(0.5)
        made = flags.evaluate("anything", "ada", default=True)
        assert (made.value, made.error_code) == (True, ErrorCode.PROVIDER_NOT_READY)


@pytest.mark.rule("P2")
def test_a_url_that_is_no_api_is_never_ready_and_is_told(unleash):
    wrong = unleash.url.replace("/api", "/elsewhere/api")
    with client(at(wrong), ready_within=0.0) as flags:
        eventually(lambda: "no Unleash document" in flags.status().provider.message, "it is told")
        status = flags.status().provider
        assert (status.state, status.age) == (State.ERROR, None)
        assert "must lead to its API" in status.message
        assert not flags.wait_ready(0.5)


@contextmanager
def answering(*lines, body=b""):
    """A server that answers everything like this, and what it was asked."""
    asked = []
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(50)

        def answer():
            while True:
                try:
                    peer, _ = one.accept()
                except OSError:
                    return
                with peer:
                    asked.append(peer.recv(65536).decode())
                    told = any(one.startswith("Content-Length") for one in lines)
                    length = () if told else (f"Content-Length: {len(body)}",)
                    head = "\r\n".join([*lines, *length, "", ""])
                    peer.sendall(head.encode() + body)

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{one.getsockname()[1]}/api", asked
        one.shutdown(socket.SHUT_RDWR)


@pytest.mark.rule("P2", "P7")
def test_a_token_never_goes_where_the_server_sends_it():
    with (
        answering("HTTP/1.1 200 OK", body=b'{"version":2,"features":[]}') as (there, followed),
        answering("HTTP/1.1 302 Found", f"Location: {there}/client/features") as (here, asked),
        client(at(here), ready_within=0.0) as flags,
    ):
        eventually(lambda: len(asked) > 1, "it was asked, and again")
        status = flags.status().provider
        assert (status.state, followed) == (State.ERROR, [])
        assert "set `url`" in status.message


@pytest.mark.rule("P1")
def test_a_black_hole_never_blocks_the_start_or_the_end():
    with black_hole() as url:
        made = at(url, request_timeout=30.0)
        began = time.monotonic()
        with Flags.over(made, ready_within=0.2) as flags:
            assert flags.evaluate("f", "ada").error_code is ErrorCode.PROVIDER_NOT_READY
            closing = time.monotonic()
            flags.close(0.5)
            made.close(0.5)
            assert time.monotonic() - closing < 2.0
        assert time.monotonic() - began < 5.0


@pytest.mark.rule("P1", "P2")
@pytest.mark.fault
def test_a_server_that_comes_later_is_found(own_unleash):
    name = own_unleash.create(own_unleash.fresh_name(), rollout())
    own_unleash.kill()
    with client(provider(own_unleash), ready_within=0.0) as flags:
        eventually(lambda: "does not answer" in flags.status().provider.message, "it is told")
        assert flags.status().state is State.NOT_READY
        own_unleash.start()
        assert flags.wait_ready(20)
        assert flags.evaluate(name, "ada", default=False).value is True
        assert flags.status().state is State.READY


@pytest.mark.rule("P2")
@pytest.mark.fault
def test_what_is_stale_goes_on_serving_and_says_how_old_it_is(own_unleash):
    name = own_unleash.create(own_unleash.fresh_name(), rollout())
    with client(provider(own_unleash), name) as flags:
        assert flags.status().state is State.READY
        own_unleash.pause()
        eventually(lambda: flags.status().state is State.STALE, "a hanging server is told")
        assert flags.is_enabled(name, "ada")
        first = flags.status().provider.age
        assert first is not None
        eventually(lambda: flags.status().provider.age > first + 1, "its age grows")
        own_unleash.go_on()
        eventually(lambda: flags.status().state is State.READY, "it is back")
        own_unleash.kill()
        eventually(lambda: flags.status().state is State.STALE, "a dead server is told")
        assert flags.evaluate(name, "ada", default=False).authoritative
        own_unleash.start()
        own_unleash.switch(name, on=False)
        eventually(lambda: not flags.is_enabled(name, "ada"), "changes are heard again")


@pytest.mark.rule("P3")
@pytest.mark.fault
def test_a_forked_child_never_keeps_a_killed_feature_on(unleash):
    name = unleash.create(unleash.fresh_name(), rollout())
    script = f"""
import os, sys, time
from downhaul import Flags
from downhaul.config import Secret
from downhaul_unleash.provider import UnleashProvider
from downhaul_unleash.session import Connection

made = UnleashProvider(Connection({unleash.url!r}, Secret({BACKEND_TOKEN!r}), refresh=0.2))
flags = Flags.over(made, ready_within=10)
until = time.monotonic() + 10
while not flags.is_enabled({name!r}, "ada") and time.monotonic() < until:
    time.sleep(0.02)
assert flags.is_enabled({name!r}, "ada")
child = os.fork()
if child == 0:
    assert flags.is_enabled({name!r}, "ada"), flags.evaluate({name!r}, "ada")
    print("forked", flush=True)
    until = time.monotonic() + 15
    while flags.is_enabled({name!r}, "ada") and time.monotonic() < until:
        time.sleep(0.02)
    held = flags.is_enabled({name!r}, "ada")
    print("on" if held else "off", flags.status().state.value, flush=True)
    flags.close()
    os._exit(0)
os.waitpid(child, 0)
print("parent", "on" if flags.is_enabled({name!r}, "ada") else "off", flush=True)
flags.close()
"""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline().strip() == "forked", process.communicate(timeout=20)
        unleash.switch(name, on=False)
        out, error = process.communicate(timeout=40)
    assert process.returncode == 0, error
    assert out.split() == ["off", "READY", "parent", "off"]


@pytest.mark.rule("P1")
def test_an_answer_that_breaks_off_never_makes_it_ready():
    with (
        answering("HTTP/1.1 200 OK", "Content-Length: 900", body=b"{") as (url, _asked),
        client(at(url), ready_within=0.0) as flags,
    ):
        eventually(lambda: flags.status().provider.message != "starting", "it was asked")
        assert not flags.wait_ready(1.0)
        assert flags.status().state is State.NOT_READY


@pytest.mark.rule("P1")
def test_nothing_of_a_client_is_left_when_it_is_closed(unleash):
    name = unleash.create(unleash.fresh_name(), rollout())
    made = provider(unleash)
    with client(made, name) as flags:
        assert any(one.name == "downhaul-unleash" for one in threading.enumerate())
        assert flags.is_enabled(name, "ada")
    eventually(
        lambda: all(one.name != "downhaul-unleash" for one in threading.enumerate()),
        "its thread has ended",
    )
    made.close()
    assert made.status().state is State.NOT_READY


def test_no_cache_on_disk_is_read_or_written(unleash, tmp_path, monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    name = unleash.create(unleash.fresh_name(), rollout())
    with client(provider(unleash), name) as flags:
        assert flags.is_enabled(name, "ada")
    assert list(tmp_path.rglob("*")) == []


def test_a_poll_without_news_loads_nothing_again(unleash):
    name = unleash.create(unleash.fresh_name(), rollout())
    made = provider(unleash)
    with client(made, name) as flags:
        asked = threading.Semaphore(0)
        session = made._session
        heard = session._heard

        def counting(response, *args, **kwargs):
            heard(response, *args, **kwargs)
            if response.status_code == 304:
                asked.release()

        session.serving.client.unleash_custom_options["hooks"]["response"] = counting
        for _ in range(3):
            assert asked.acquire(timeout=10)
        assert session._cache.get("/client/features") == '{"events":[]}'
        assert flags.is_enabled(name, "ada")


def test_a_payload_from_a_file_needs_no_server(tmp_path):
    from downhaul.config import resolve
    from downhaul.plugins import build_provider

    payload = {"version": 2, "features": [{"name": "f", "enabled": True, "strategies": []}]}
    path = tmp_path / "payload.json"
    path.write_text(json.dumps(payload))
    made = build_provider(resolve(f"unleash+file://{path}", environ={}))
    with Flags.over(made, ready_within=5) as flags:
        assert flags.is_enabled("f", "ada")
        assert flags.status().state is State.READY
        assert threading.active_count() >= 1


def test_an_application_ends_while_the_server_hangs(own_unleash):
    name = own_unleash.create(own_unleash.fresh_name(), rollout())
    script = (
        "from downhaul import Flags; from downhaul.config import Secret\n"
        "from downhaul_unleash.provider import UnleashProvider\n"
        "from downhaul_unleash.session import Connection\n"
        f"c = Connection({own_unleash.url!r}, Secret({BACKEND_TOKEN!r}), request_timeout=60.0)\n"
        f"Flags.over(UnleashProvider(c), ready_within=0.5).is_enabled({name!r})\n"
    )
    own_unleash.pause()
    try:
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", script], check=True, timeout=30, env=os.environ)
        assert time.monotonic() - began < 15
    finally:
        own_unleash.go_on()


def test_a_connection_hides_its_token(unleash):
    text = repr(connection(unleash)) + repr(provider(unleash))
    assert BACKEND_TOKEN.partition(".")[2] not in text
