"""Gates on the command line: who is asked for what, what they type, and what it opens."""

import http.server
import json
import threading
import time

import pytest

from downhaul.cli.rollout_words import NOBODY

PLAN = """
flag = "agent"
steps = [10, 50]
bake = "50ms"
max_bake = "1h"
interval = "20ms"
unguarded = "a test"
"""
APPROVALS = """
[approvals]
steps = [2]
by = ["ben", "leads"]
not_author = true
"""
BEN = {"DOWNHAUL_ACTOR": "ben"}


@pytest.fixture
def begun(shell):
    """A function that starts a rollout of these tables, and looks until it is held."""

    def begin(tables, *words):
        shell("flags", "create", "agent", "--on", "--percent", "0")
        (shell.folder / "plan.toml").write_text(PLAN + tables)
        shell("rollout", "start", "plan.toml", "--reason", "out it goes", *words)
        return look(shell)

    return begin


def look(shell, most=200):
    """Look until nothing moves by itself any more."""
    for _ in range(most):
        shell("controller", "run", "--once")
        found = shell.json("rollout", "status", "agent")
        if found["hold"] or not found["live"]:
            return found
    raise AssertionError(found)


def gate(found, kind):
    (one,) = [one for one in found["gates"] if one["kind"] == kind]
    return one


@pytest.mark.rule("R4", "X4")
def test_who_waits_for_an_approval_is_told_whose_and_what_to_type(shell, begun):
    found = begun(APPROVALS)
    rollout = found["id"]
    said = "step 2 needs an approval by ben or leads, not by ana"
    command = f'downhaul rollout approve {rollout} --step 2 --reason "..."'
    assert (found["hold"], found["hold_message"]) == ("approval", said)
    assert gate(found, "approval") == {
        "kind": "approval",
        "name": None,
        "open": False,
        "message": said,
        "hint": None,
        "until": None,
        "command": command,
    }
    assert found["waits"][:1] == [f"{said}: {command}"]
    lines = shell("rollout", "status", "agent").stdout.splitlines()
    assert f"   why      It needs an approval: {said}" in lines
    assert f"   waits    {said}: {command}" in lines
    assert "   next     50 % once that is so" in lines
    explained = shell("rollout", "explain", "agent").stdout
    assert f"  closed  {said}: {command}" in explained
    assert f"  {command}" in explained.split("What you can do")[1]
    refused = shell("rollout", "approve", "agent", "--reason", "mine", exit_code=6)
    assert "ana is not among those" in refused.stderr

    words = command.replace("...", "no complaints").split("--reason")[0].split()[1:]
    done = shell(*words, "--reason", "no complaints", env=BEN)
    assert done.stdout.splitlines()[0] == f"APPROVE  agent  {rollout}: step 2 is approved"
    assert '   signed   step 2 was approved by ben: "no complaints"' in done.stdout.splitlines()
    assert NOBODY in done.stderr
    assert look(shell)["phase"] == "completed"
    assert "approved" in shell("rollout", "explain", "agent").stdout
    (record,) = [one for one in shell.json("audit")["records"] if one["action"] == "approved"]
    assert (record["actor"], record["reason"], record["flag"]) == ("ben", "no complaints", "agent")


def test_groups_are_the_configurations(shell, begun):
    begun(APPROVALS)
    eve = {"DOWNHAUL_ACTOR": "eve"}
    words = ("rollout", "approve", "agent", "--reason", "fine")
    assert "[rollout.groups]" in shell(*words, env=eve, exit_code=6).stderr
    (shell.folder / "downhaul.toml").write_text('[rollout.groups]\nleads = ["eve"]\n')
    assert shell.json(*words, env=eve)["written"] is True
    again = shell.json(*words, env=eve)
    assert (again["written"], again["outcomes"]) == (
        False,
        ["eve said so already: step 2 is approved"],
    )
    assert look(shell)["phase"] == "completed"


def test_a_rejection_and_its_reason_are_shown(shell, begun):
    begun(APPROVALS)
    words = ("rollout", "reject", "agent", "--step", "2", "--reason", "answers got longer")
    assert "step 2 is rejected" in shell(*words, env=BEN).stdout
    found = look(shell)
    assert found["hold_message"] == 'step 2 was rejected by ben: "answers got longer"'
    early = ("rollout", "approve", "agent", "--step", "3", "--reason", "soon")
    assert "too early for step 3" in shell(*early, env=BEN, exit_code=6).stderr


def test_a_pipeline_that_waits_hears_that_a_person_is_needed(shell, begun):
    begun(APPROVALS)
    shell("rollout", "status", "agent", "--wait", "--timeout", "5s", exit_code=4)


def test_without_a_reason_nothing_is_signed(shell, begun):
    begun(APPROVALS)
    for verb in ("approve", "reject"):
        shell("rollout", verb, "agent", exit_code=2)
    done = shell("rollout", "approve", "agent", "--reason", " ", "--json", exit_code=6)
    assert "needs a reason" in json.loads(done.stdout)["error"]["message"]


# Times


def test_a_rollout_is_scheduled_and_says_when(shell):
    shell("flags", "create", "agent", "--on", "--percent", "0")
    (shell.folder / "plan.toml").write_text(PLAN)
    at = "2999-09-01T08:00:00+02:00"
    done = shell("rollout", "start", "plan.toml", "--at", at, "--reason", "after the fair")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("SCHEDULED  agent  ")
    assert "  starts     at 2999-09-01T06:00:00Z" in lines
    assert "2999-09-01T06:00:00Z" in lines[3]
    shell("controller", "run", "--once")
    found = shell.json("rollout", "status", "agent")
    assert (found["phase"], found["hold"]) == ("starting", "start_time")
    assert gate(found, "start_time")["until"] == "2999-09-01T06:00:00Z"
    assert "it starts at 2999-09-01T06:00:00Z" in found["waits"]
    assert (
        "has a live rollout already" in shell("rollout", "start", "plan.toml", exit_code=6).stderr
    )
    shell("rollout", "cancel", "agent", "--reason", "not this year")
    assert shell.json("rollout", "status", "agent")["phase"] == "stopped"


@pytest.mark.rule("E11", "X1")
@pytest.mark.parametrize(
    "at, code, said",
    [
        ("2999-09-01T08:00:00", 2, "has no offset"),
        ("tomorrow", 2, "is no time"),
        ("2001-09-01T08:00:00Z", 6, "lies behind"),
    ],
)
def test_a_time_that_is_none_or_lies_behind_starts_nothing(shell, at, code, said):
    shell("flags", "create", "agent", "--on", "--percent", "0")
    (shell.folder / "plan.toml").write_text(PLAN)
    assert said in shell("rollout", "start", "plan.toml", "--at", at, exit_code=code).stderr
    assert shell.json("rollout", "list")["rollouts"] == []


def test_a_freeze_is_shown_in_the_plan_and_where_it_holds(shell, begun):
    freeze = """
[[freeze]]
until = "2999-01-09T00:00:00Z"
reason = "nobody is there"

[[freeze]]
weekly = "Fri 16:00 - Mon 08:00 Europe/Berlin"
"""
    found = begun(freeze)
    assert found["hold_message"] == "frozen until 2999-01-09T00:00:00Z: nobody is there"
    assert shell.json("rollout", "list")["rollouts"][0]["phase"] == "starting"
    planned = shell("rollout", "plan", "plan.toml").stdout.splitlines()
    assert "  freeze     now to 2999-01-09T00:00:00Z: nobody is there" in planned
    assert "  freeze     Fri 16:00 - Mon 08:00 Europe/Berlin" in planned
    assert "2999-01-09T00:00:00Z" in planned[2]


def test_a_freeze_without_an_end_is_refused(shell):
    shell("flags", "create", "agent")
    (shell.folder / "plan.toml").write_text(PLAN + '[[freeze]]\nfrom = "2026-01-01T00:00:00Z"\n')
    done = shell("rollout", "lint", "plan.toml", "--offline", exit_code=3)
    assert "error    freeze[0]: it never ends (give it an until)" in done.stdout


# Checklists

CHECKLIST = """
[[checklist]]
id = "on-call"
text = "Somebody is on call"

[[checklist]]
id = "rehearsed"
text = "The way back is rehearsed"
auto = "rehearsal"
limit = "7d"

[[checklist]]
id = "feedback"
text = "Nobody complains"
when = "during"

[[checklist]]
id = "lessons"
text = "What was learned is written down"
when = "after"
"""


def test_a_checklist_is_shown_ticked_and_taken_back(shell, begun):
    found = begun(CHECKLIST)
    rollout = found["id"]
    hint = "downhaul rollout rehearse, with the plan of agent"
    never = "the way back was never rehearsed"
    assert found["hold"] == "checklist"
    assert found["waits"][:2] == [
        f"on-call (Somebody is on call) is not ticked: downhaul rollout check {rollout} on-call",
        f"rehearsed (The way back is rehearsed): {never}: {hint}",
    ]
    assert shell("rollout", "checklist").stdout.splitlines() == [
        "before",
        "  [ ] on-call    Somebody is on call",
        f"  [ ] rehearsed  The way back is rehearsed (7d): {never} ({hint})",
        "during",
        "  [-] feedback   Nobody complains",
        "after",
        "  [-] lessons    What was learned is written down",
    ]
    shell("rollout", "rehearse", "plan.toml")
    done = shell("rollout", "check", "agent", "on-call", "--reason", "ben, 24/7").stdout
    assert f"CHECK  agent  {rollout}: on-call (Somebody is on call) is done" in done
    assert shell.json("rollout", "uncheck", "agent", "on-call")["written"] is True
    shell("rollout", "check", "agent", "on-call", "--reason", "ida, 24/7")
    assert "[x] on-call    Somebody is on call: ana at " in shell("rollout", "checklist").stdout
    found = look(shell)
    assert (found["step"], found["percent"], found["hold"]) == (1, 10, "checklist")
    late = shell("rollout", "check", "agent", "feedback", "--step", "2", exit_code=6)
    assert "it was meant for step 2" in late.stderr
    shell("rollout", "check", "agent", "feedback", "--step", "1")
    assert look(shell)["phase"] == "completed"
    items = {one["id"]: one for one in shell.json("rollout", "checklist", "agent")["items"]}
    assert items["lessons"]["mark"] == "open"
    assert (items["on-call"]["by"], items["on-call"]["reason"]) == ("ana", "ida, 24/7")
    assert "[ ] lessons" in shell("rollout", "explain", "agent").stdout


def test_several_items_are_ticked_at_once(shell, begun):
    begun(CHECKLIST)
    refused = shell("rollout", "check", "agent", "on-call", "rehearsed", exit_code=6)
    assert "rehearsed ticks itself" in refused.stderr
    items = {one["id"]: one["mark"] for one in shell.json("rollout", "checklist")["items"]}
    assert items["on-call"] == "done"  # each is a signature of its own


def test_a_plan_without_a_checklist_says_so(shell):
    shell("flags", "create", "agent", "--on", "--percent", "0")
    (shell.folder / "plan.toml").write_text(PLAN)
    shell("rollout", "start", "plan.toml")
    assert "has no checklist" in shell("rollout", "checklist").stderr
    assert "no checklist" in shell("rollout", "check", "agent", "x", exit_code=6).stderr


# Services


@pytest.fixture
def answering():
    """The URL of a service on loopback, the list of its statuses in order, and how often asked."""
    statuses, asked = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", statuses, asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_cron_asks_services_and_goes_on_once_they_confirm(shell, begun, answering):
    url, statuses, asked = answering
    statuses += [503]
    hook = '[[hooks]]\nname = "deploys"\nwhen = "start"\nurl = { env = "GATE" }\n'
    shell.runner.env["GATE"] = url
    found = begun(hook)
    assert found["hold"] == "hook"
    shell("controller", "run", "--once")
    found = shell.json("rollout", "status", "agent")
    tries = "once" if len(asked) == 1 else f"{len(asked)} times"  # again after some seconds
    said = f"hook deploys does not confirm: it answered 503 (asked {tries})"
    assert gate(found, "hook")["message"] == said
    assert said in found["waits"]
    assert url not in json.dumps(found)
    statuses[:] = [200]
    until = time.monotonic() + 20
    while shell.json("rollout", "status", "agent")["phase"] != "completed":
        assert time.monotonic() < until
        shell("controller", "run", "--once")
    assert "  hook       deploys, before the start: env GATE" in (
        shell("rollout", "plan", "plan.toml").stdout.splitlines()
    )


# Templates

TEAM = """
name = "team"
version = 2
description = "How we do it"

[arguments.lead]
description = "who approves"

[arguments.bake]
default = "1h"

[plan]
bake = "${bake}"
unguarded = "the team watches"

[plan.approvals]
by = ["${lead}"]
"""


@pytest.fixture
def team(shell):
    """A shell with a folder of templates beside its configuration."""
    (shell.folder / "downhaul.toml").write_text("")
    (shell.folder / "rollout-templates").mkdir()
    (shell.folder / "rollout-templates" / "team.toml").write_text(TEAM)
    shell("flags", "create", "agent", "--on", "--percent", "0")
    return shell


def test_templates_are_listed_and_make_plans(team):
    found = team.json("rollout", "templates")["templates"]
    assert [(one["name"], one["version"]) for one in found] == [("guide", 1), ("team", 2)]
    assert "lead (needed), bake=1h" in team("rollout", "templates").stdout
    words = ("rollout", "new", "agent", "--template", "team")
    needed = team(*words, exit_code=6).stderr
    assert "team@2 needs lead (who approves) (give it with --arg lead=...)" in needed
    text = team(*words, "--arg", "lead=ben", "--arg", "bake=2h").stdout
    (team.folder / "plan.toml").write_text(text)
    assert team.json("rollout", "lint", "plan.toml")["ok"]
    started = team.json("rollout", "start", "plan.toml")
    assert started["plan"]["template"] == "team@2"
    assert "  template   team@2" in team("rollout", "plan", "plan.toml").stdout
    assert team.json(*words, "--arg", "lead=ben")["template"] == "team@2"


def test_a_lint_looks_at_the_template_of_a_plan(team):
    text = team("rollout", "new", "agent", "--template", "team", "--arg", "lead=ben").stdout
    plan = team.folder / "plan.toml"
    plan.write_text(text.replace("team@2", "team@1"))
    done = team("rollout", "lint", "plan.toml", "--offline").stdout
    assert "note     template: it was made of version 1, and version 2 is there" in done
    plan.write_text(text.replace("team@2", "taem@2"))
    done = team("rollout", "lint", "plan.toml").stdout
    assert 'warning  template: no template "taem" is known here (did you mean "team"?)' in done
    plan.write_text(text.replace("team@2", "team"))
    assert "is no name and version" in team("rollout", "lint", "plan.toml", exit_code=3).stdout
    team("rollout", "start", "plan.toml", exit_code=6)
    plan.write_text(text.replace('[approvals]\nby = ["ben"]\n', ""))
    assert "team@2 has approvals" in team("rollout", "start", "plan.toml").stderr


@pytest.mark.rule("X1")
def test_what_is_no_template_is_told(team):
    words = ("rollout", "new", "agent", "--template")
    assert 'did you mean "team"?' in team(*words, "taem", exit_code=6).stderr
    assert "write name=value" in team(*words, "team", "--arg", "lead", exit_code=2).stderr
    assert "has no argument" in team(*words, "team", "--arg", "x=1", exit_code=6).stderr
    folder = team.folder / "rollout-templates"
    (folder / "second.toml").write_text(TEAM)
    assert 'two templates are called "team"' in team("rollout", "templates", exit_code=1).stderr
    (folder / "second.toml").unlink()
    (team.folder / "downhaul.toml").write_text('[rollout]\ntemplates = "elsewhere"\n')
    assert "elsewhere" in team("rollout", "templates", exit_code=1).stderr
