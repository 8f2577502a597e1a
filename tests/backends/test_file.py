"""A file of flags: followed, refused whole when bad, and the last good one kept."""

import json
import os
import subprocess
import sys

import pytest

from downhaul.backends.file import FileProvider, path_in
from downhaul.documents import render_document
from downhaul.errors import ConfigError, DocumentError, ReadOnly, UnsupportedCapability
from downhaul.flag import Flag, FlagSet
from downhaul.provider import Capability, Change, State

WHO = Change("anna")


def document(*keys, **fields):
    flags = [{"key": key, "default": "on", **fields} for key in keys]
    return json.dumps({"downhaul": 1, "flags": flags})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "flags.json"


@pytest.fixture
def follow(heard):
    started = []

    def follow(path):
        provider = FileProvider(path, poll=0.01)
        provider.start(heard)
        started.append(provider)
        return provider

    yield follow
    for provider in started:
        provider.close()


def keys(heard):
    return sorted(heard.flag_set.flags) if heard.flag_set else None


@pytest.mark.parametrize("format_", ["json", "toml", "yaml"])
def test_flags_come_from_a_file_of_any_format(tmp_path, follow, heard, format_):
    path = tmp_path / f"flags.{format_}"
    flag_set = FlagSet.of([Flag.boolean("a", percent=25)])
    path.write_text(render_document(flag_set, format_))
    provider = follow(path)
    assert provider.wait_ready(10)
    assert provider.status().state is State.READY
    assert heard.flag_set.flags == flag_set.flags == provider.list().flags
    assert provider.get("a") == flag_set.flags["a"]


@pytest.mark.rule("P1", "P2")
def test_a_file_that_is_not_there_yet_is_waited_for(path, follow, heard):
    provider = follow(path)
    heard.wait_for(lambda one: one.statuses)
    assert provider.status().state is State.NOT_READY
    assert "No such file" in provider.status().message
    assert not provider.wait_ready(0)
    path.write_text(document("a"))
    assert provider.wait_ready(10)
    assert keys(heard) == ["a"]


def test_a_change_is_followed(path, follow, heard):
    path.write_text(document("a"))
    follow(path)
    heard.wait_for(lambda one: keys(one) == ["a"])
    path.write_text(document("a", "b"))
    heard.wait_for(lambda one: keys(one) == ["a", "b"])


def test_a_file_replaced_by_an_editor_is_followed(path, follow, heard, tmp_path):
    path.write_text(document("a"))
    follow(path)
    heard.wait_for(lambda one: keys(one) == ["a"])
    os.utime(path, (1, 1))
    for key in ("b", "c"):  # same size and same time: only the inode tells
        other = tmp_path / ".flags.json.swp"
        other.write_text(document(key))
        os.utime(other, (1, 1))
        other.replace(path)
        heard.wait_for(lambda one, key=key: keys(one) == [key])


@pytest.mark.rule("P2")
def test_a_bad_file_is_refused_whole_and_the_last_good_one_stays(path, follow, heard, caplog):
    path.write_text(document("a"))
    provider = follow(path)
    assert provider.wait_ready(10)
    path.write_text(document("b", "c", default="onn"))
    heard.wait_for(lambda one: one.statuses[-1].state is State.STALE)
    status = provider.status()
    assert str(path) in status.message
    assert "flags[0].default" in status.message
    assert "flags[1].default" in status.message
    assert status.age >= 0
    assert keys(heard) == ["a"]
    with pytest.raises(DocumentError):
        provider.list()
    path.write_text(document("b"))
    heard.wait_for(lambda one: one.statuses[-1].state is State.READY)
    assert keys(heard) == ["b"]
    assert len(caplog.records) == 1


def test_one_bad_content_is_logged_once(path, follow, heard, caplog):
    path.write_text("{")
    provider = follow(path)
    heard.wait_for(lambda one: one.statuses and "broken JSON" in one.statuses[-1].message)
    assert provider.status().state is State.NOT_READY
    os.utime(path)
    path.with_suffix(".x").write_text("{")
    path.with_suffix(".x").replace(path)
    path.unlink()
    heard.wait_for(lambda one: "No such file" in one.statuses[-1].message)
    path.write_text("{")
    heard.wait_for(lambda one: one.statuses and "broken JSON" in one.statuses[-1].message)
    assert len(caplog.records) == 1


def test_a_file_that_vanishes_leaves_its_flags(path, follow, heard):
    path.write_text(document("a"))
    provider = follow(path)
    assert provider.wait_ready(10)
    path.unlink()
    heard.wait_for(lambda one: one.statuses[-1].state is State.STALE)
    assert keys(heard) == ["a"]
    path.write_text(document("a"))
    heard.wait_for(lambda one: one.statuses[-1].state is State.READY)
    assert heard.calls == ["replaced"]


def test_a_file_written_in_halves_is_never_half_applied(tmp_path, follow, heard):
    path = tmp_path / "flags.yaml"
    text = render_document(FlagSet.of([Flag.boolean(f"f{number}") for number in range(50)]), "yaml")
    path.write_text(text)
    provider = follow(path)
    assert provider.wait_ready(10)
    seen = []
    heard.changed = heard.replaced = lambda flag_set: seen.append(len(flag_set.flags))
    for _ in range(20):
        with path.open("w") as file:
            for at in range(0, len(text), 200):
                file.write(text[at : at + 200])
                file.flush()
            file.write("# the end\n")
    assert set(seen) <= {50}


@pytest.mark.rule("P4")
def test_it_takes_no_writes_and_says_where_to_write(path):
    provider = FileProvider(path)
    for write in (
        lambda: provider.put(Flag.boolean("a"), WHO),
        lambda: provider.switch_off("a", WHO),
        lambda: provider.set_rollout("a", "on", 1, WHO),
        lambda: provider.delete("a", WHO),
        lambda: provider.put_segment(None, WHO),
    ):
        with pytest.raises(ReadOnly, match="edit the file"):
            write()
    for other in (provider.history, lambda: provider.snapshot("a")):
        with pytest.raises(UnsupportedCapability):
            other()
    assert provider.capabilities == {Capability.FLAG_SET, Capability.READ, Capability.WATCH}


@pytest.mark.rule("P1")
def test_closing_again_does_nothing_and_a_closed_provider_is_silent(path, follow, heard):
    path.write_text(document("a"))
    provider = follow(path)
    assert provider.wait_ready(10)
    for _ in range(2):
        provider.close()
    path.write_text(document("b"))
    assert provider.status().state is State.NOT_READY
    assert keys(heard) == ["a"]


@pytest.mark.rule("P3")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_follows_the_file(path):
    path.write_text(document("a"))
    code = f"""
import os, sys, threading
from downhaul.backends.file import FileProvider

class Listener:
    def __init__(self): self.heard = threading.Event()
    def replaced(self, flag_set):
        if "b" in flag_set.flags: self.heard.set()
    def status_changed(self, status): pass

listener = Listener()
provider = FileProvider({str(path)!r}, poll=0.01)
provider.start(listener)
assert provider.wait_ready(10)
child = os.fork()
if not child:
    provider.after_fork()
    open({str(path)!r}, "w").write({document("b")!r})
    os._exit(0 if listener.heard.wait(10) and provider.wait_ready(0) else 1)
sys.exit(os.waitpid(child, 0)[1])
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    "url, path",
    [
        ("file:flags.toml", "flags.toml"),
        ("file:/etc/flags.toml", "/etc/flags.toml"),
        ("file:///etc/flags.toml", "/etc/flags.toml"),
        ("file://localhost/etc/a%20b.toml", "/etc/a b.toml"),
    ],
)
def test_the_url_names_a_path(url, path):
    assert str(path_in(url)) == path


@pytest.mark.parametrize("url", ["file:", "file://", "file://host/a.toml"])
def test_a_url_without_a_path_is_refused(url):
    with pytest.raises(ConfigError):
        path_in(url)


def test_settings_make_a_provider(tmp_path):
    from downhaul.backends.file import create
    from downhaul.config import resolve

    settings = resolve("file:flags.toml", environ={}, directory=tmp_path)
    assert create(settings).path == tmp_path / "flags.toml"
