"""The command line as a process: its exits, its streams, its cost."""

import errno
import os
import pty
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PYTHON = (sys.executable, "-m", "downhaul")


def run(*words, **options):
    return subprocess.run(
        [*PYTHON, *words], capture_output=True, text=True, timeout=60, check=False, **options
    )


def in_terminal(words, answer=b"", env=None):
    """Run in a terminal of its own; return what it showed and how it ended."""
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover  (the other process)
        os.environ.update(env or {})
        os.execv(sys.executable, [*PYTHON, *words])
    shown, until, asked = b"", time.monotonic() + 60, False
    while time.monotonic() < until:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                chunk = os.read(terminal, 4096)
            except OSError as error:
                if error.errno == errno.EIO:
                    break
                raise
            if not chunk:
                break
            shown += chunk
            if answer and not asked and b"[y/N]" in shown:
                os.write(terminal, answer)
                asked = True
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return shown.decode(), os.waitstatus_to_exitcode(status)


def test_data_goes_to_stdout_and_all_else_to_stderr(agent):
    done = run("kill", "agemt", "--reason", "errors")
    assert done.stdout.startswith("KILLED  agemt")
    assert "warning:" in done.stderr
    assert "warning:" not in done.stdout


def test_a_reader_that_goes_away_is_no_failure(agent):
    for number in range(30):
        agent("flags", "create", f"f{number}", "--description", "x" * 4000)
    process = subprocess.Popen(
        [*PYTHON, "flags", "export"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == b""
    process.stderr.close()


def test_an_unexpected_failure_shows_no_traceback_unless_asked(agent):
    (agent.folder / "broken.db").write_bytes(b"this is no database" * 100)
    done = run("flags", "list", "--url", "sqlite:///broken.db")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error:")


def test_debug_shows_the_traceback(agent):
    done = run("flags", "on", "agemt", "--debug")
    assert "Traceback" in done.stderr
    assert done.returncode == 1


def test_ctrl_c_ends_with_130(agent):
    process = subprocess.Popen(
        [*PYTHON, "flags", "set", "--file", "-"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell that runs the tests in the background lets them, and what they start, ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  (no threads)
    )
    with process:
        # It waits for stdin; a signal before that ends it the same way, but by Python's own hand.
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if "pipe" in Path(f"/proc/{process.pid}/wchan").read_text(encoding="ascii"):
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.rule("K5")
def test_killing_everything_asks_in_a_terminal(agent):
    shown, code = in_terminal(["kill", "--all", "--reason", "errors"], b"n\n")
    assert code == 130
    assert "[y/N]" in shown
    assert agent.json("kills")["kills"] == []
    shown, code = in_terminal(["kill", "--all", "--reason", "errors"], b"y\n")
    assert code == 0
    assert [one["scope"] for one in agent.json("kills")["kills"]] == ["*"]


@pytest.mark.rule("K5")
def test_killing_a_flag_asks_nothing_in_a_terminal(agent):
    shown, code = in_terminal(["kill", "agent", "--reason", "errors"])
    assert code == 0
    assert "KILLED" in shown


def test_a_terminal_gets_a_drawn_table_and_colours_only_where_wanted(agent):
    env = {"TERM": "xterm-256color", "NO_COLOR": ""}
    drawn, _ = in_terminal(["flags", "list"], env=env)
    assert "─" in drawn
    plain, _ = in_terminal(["flags", "on", "nothing", "--no-color"], env=env)
    coloured, _ = in_terminal(["flags", "on", "nothing"], env=env)
    refused, _ = in_terminal(["flags", "on", "nothing"], env={**env, "NO_COLOR": "1"})
    assert "\x1b[31m" in coloured
    assert "\x1b[31m" not in plain
    assert "\x1b[31m" not in refused


def test_help_comes_at_once():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(3):
        assert run("--help").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used / 3 < 0.3
