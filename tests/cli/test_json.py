"""Every ``--json`` document has the shape that is published, failures too (rule X2)."""

import json
import time

import jsonschema
import pytest

from downhaul.cli.exits import Exit
from downhaul.cli.shapes import ERROR, commands, schema_of

REASON = ("--reason", "test")
PLAN = ("--flag", "agent", "--steps", "50,100", "--bake", "1h", "--unguarded", "test")
SLOW = ("--bake", "1h", "--unguarded", "test")
QUICK = ("--steps", "100", "--interval", "10ms", "--bake", "1ms", "--unguarded", "test")
MOVE = ("--from", "provider", "--to", "sqlite:///moved.db")
CODES = {
    # Only a controller carries these out, and here is none.
    "rollout resume": Exit.UNREACHABLE,
    "rollout promote": Exit.UNREACHABLE,
    # Nobody listens there.
    "alerts test": Exit.CHECK_FAILED,
    # No application compares anything.
    "migrate report": Exit.CHECK_FAILED,
    # A part of the contract is no certificate.
    "contract run": Exit.CHECK_FAILED,
}

RUNS = {
    "flags list": [()],
    "flags show": [("agent",), ("killed",)],
    "flags create": [("fresh",)],
    "flags set": [("agent", "--owner", "team")],
    "flags on": [("agent",)],
    "flags off": [("agent",)],
    "flags percent": [("agent", "50")],
    "flags target": [("agent", "--add", "u1")],
    "flags restore": [("agent", "--to", "VERSION")],
    "flags delete": [("agent", "--yes")],
    "flags import": [("flags.json",), ("flags.json", "--dry-run")],
    "flags export": [()],
    "flags convert": [("flags.json",)],
    "flags history": [(), ("killed",)],
    "flags stale": [("--days", "0")],
    "segments list": [()],
    "segments show": [("beta",)],
    "segments set": [("beta", "--include", "u2"), ("gamma", "--include", "u1")],
    "segments delete": [("beta", "--yes")],
    "eval": [("agent", "-c", "targetingKey=u1", "--explain"), ("killed",)],
    "kill": [
        ("agent", *REASON, "--for", "1h", "--no-wait"),
        ("killed", *REASON, "--wait", "10ms"),
        ("odd", *REASON, "--dry-run"),
        ("--tag", "agents", *REASON, "--dry-run", "--for", "1h"),
    ],
    "revive": [("killed", *REASON, "--request"), ("killed", *REASON), ("agent", *REASON)],
    "kills": [()],
    "drill": [("--offline",), ("agent", "--offline")],
    "rollout templates": [()],
    "rollout new": [("agent", "--template", "guide")],
    "rollout lint": [(*PLAN,), ("--flag", "agent", "--unguarded", "x", "--offline")],
    "rollout plan": [(*PLAN,)],
    "rollout rehearse": [(*PLAN,)],
    "rollout start": [(*PLAN, *REASON)],
    "rollout list": [(), ("--live",)],
    "rollout status": [("moving",), ("done",), ("gated",)],
    "rollout explain": [("moving",), ("done",), ("gated",)],
    "rollout pause": [("moving", *REASON)],
    "rollout resume": [("paused",)],
    "rollout promote": [("moving",)],
    "rollout approve": [("gated", *REASON)],
    "rollout reject": [("gated", *REASON)],
    "rollout check": [("gated", "on-call", *REASON)],
    "rollout uncheck": [("gated", "on-call", *REASON)],
    "rollout checklist": [("gated",)],
    "rollout rollback": [("moving", *REASON)],
    "rollout revert": [("done", *REASON)],
    "rollout cancel": [("moving", *REASON)],
    "migrate plan": [(*MOVE,)],
    "migrate show": [("moved.json",)],
    "migrate apply": [("moved.json",)],
    "migrate revert": [("applied.json", "--dry-run"), ("applied.json",)],
    "migrate inventory": [("--from", "provider"), ("--from", "provider", "--code", ".")],
    "migrate retire": [("agent", "--code", ".")],
    "migrate verify": [(*MOVE,), (*MOVE, "agent", "--no-note")],
    "migrate status": [()],
    "migrate report": [(), ("agent", "--since", "1h", "--min-parity", "99")],
    "migrate cutover": [("agent",), ("--all",)],
    "migrate forget": [("agent",)],
    "migrate back": [("agent",), ("agent", "--to", "off")],
    "migrate sync": [("agent",)],
    "controller run": [("--once",)],
    "audit": [(), ("--flag", "agent")],
    "providers list": [()],
    "contract run": [("--provider", "memory", "-k", "test_zero_is_a_value")],
    "config show": [()],
    "config check": [()],
    "db upgrade": [()],
    "db check": [()],
    "db sql": [("--url", "sqlite:///new.db")],
    "db roles": [("--url", "postgresql://db/flags")],
    "alerts list": [()],
    "alerts test": [("--config", "alerts.toml"), ("--config", "alerts.toml", "--sink", "own")],
    "doctor": [()],
    "emulate": [("launchdarkly", "--for", "10ms"), ("split", "--for", "10ms")],
    "completion": [("bash",)],
}


def fill(agent):
    agent("flags", "create", "agent", "--on", "--percent", "25", "--tag", "agents")
    agent("flags", "create", "killed", "--on")
    agent("kill", "killed", *REASON)
    agent("segments", "set", "beta", "--include", "u1")
    document = {"downhaul": 1, "flags": [{"key": "new", "on": True, "default": "on"}]}
    (agent.folder / "flags.json").write_text(json.dumps(document))
    sinks = '[alerts.sinks.own]\nurl = "http://127.0.0.1:9/x"\n'
    (agent.folder / "alerts.toml").write_text(sinks)


@pytest.fixture
def full(shell, folders):
    """A store with a flag, a killed flag and a segment, and a document beside it."""
    folders("full", shell, fill)
    return shell


GATED = """
flag = "gated"
bake = "1h"
unguarded = "test"

[approvals]
by = ["ana"]

[[checklist]]
id = "on-call"
text = "Somebody is on call"
"""


MOVING = [
    RUNS[f"migrate {verb}"]
    for verb in ("verify", "status", "cutover", "back", "forget", "sync", "retire")
]


def move_flags(full, words):
    """Plan and apply the moves that a command line names."""
    if words in MOVING:
        full("migrate", "plan", *MOVE, "-o", "moving.json")
        full("migrate", "apply", "moving.json")
        for _ in range(5 if words == RUNS["migrate retire"] else 0):
            full("migrate", "cutover", "agent", "--unverified")
    if any("moved.json" in one or "applied.json" in one for one in words):
        for file in ("moved.json", "applied.json"):
            full("migrate", "plan", *MOVE, "-o", file)
    if any("applied.json" in one for one in words):
        full("migrate", "apply", "applied.json")


def prepared(full, words):
    """Make the rollouts that a command line names: one that moves, is paused, is completed."""
    if any("gated" in one for one in words):
        full("flags", "create", "gated", "--percent", "0")
        (full.folder / "gated.toml").write_text(GATED)
        full("rollout", "start", "gated.toml")
    move_flags(full, words)
    for key in {"moving", "paused", "done"} & {word for one in words for word in one}:
        full("flags", "create", key, "--percent", "0")
        full("rollout", "start", "--flag", key, *(QUICK if key == "done" else SLOW))
        if key == "paused":
            full("rollout", "pause", key)
        elif key == "done":
            until = time.monotonic() + 10
            while full.json("rollout", "status", key)["phase"] != "completed":
                assert time.monotonic() < until
                full("controller", "run", "--once")


def test_every_command_with_a_shape_is_run_here():
    assert set(RUNS) == set(commands())


@pytest.mark.rule("X2")
@pytest.mark.parametrize("name", commands())
def test_what_a_command_prints_has_its_published_shape(full, name):
    prepared(full, RUNS[name])
    jsonschema.Draft202012Validator.check_schema(schema_of(name))
    code = CODES.get(name, Exit.OK)
    for words in RUNS[name]:
        version = full.json("flags", "history", "agent")["changes"][-1]["version"]
        given = [version if one == "VERSION" else one for one in words]
        document = full.json(*name.split(), *given, exit_code=int(code))
        jsonschema.validate(document, schema_of(name))
        assert "error" not in document
        assert list(document)[:2] == ["schema_version", "command"]


@pytest.mark.rule("X1", "X2")
@pytest.mark.parametrize(
    "words, code",
    [
        (("flags", "on", "agemt"), Exit.FAILURE),
        (("flags", "create", "agent"), Exit.CONFLICT),
        (("kill", "agent", "--reason", " "), Exit.REFUSED),
        (("flags", "list", "--url", "sqlite:///gone.db"), Exit.UNREACHABLE),
        (("flags", "list", "--url", "nobody://x"), Exit.FAILURE),
        (("flags", "percent", "agent", "5", "--variant", "maybe"), Exit.REFUSED),
        (("flags", "on", "new", "--url", "file:flags.json"), Exit.REFUSED),
    ],
)
def test_a_failure_is_a_document_and_a_message_with_the_fix(full, words, code):
    done = full(*words, "--json", exit_code=int(code))
    document = json.loads(done.stdout)
    jsonschema.validate(document, ERROR)
    assert document["error"]["exit_code"] == code
    assert document["error"]["message"] in done.stderr
    assert document["error"]["hint"] in done.stderr
    assert "Traceback" not in done.stderr
