"""The tree of commands, with a line on each. Nothing of a command is imported here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import click

from downhaul.cli.commands import LazyGroup, common_options
from downhaul.cli.exits import Exit

_FLAGS: Final = {
    "list": ("downhaul.cli.flags:list_flags", "List flags and whom they serve what."),
    "show": ("downhaul.cli.flags:show", "Show one flag whole."),
    "create": ("downhaul.cli.flags_create:create", "Create a flag."),
    "set": ("downhaul.cli.flags_write:set_fields", "Change fields of a flag, or all of it."),
    "on": ("downhaul.cli.flags_write:on", "Turn a flag on."),
    "off": ("downhaul.cli.flags_write:off", "Turn a flag off: everybody gets its off variant."),
    "percent": ("downhaul.cli.flags_write:percent", "Serve a flag to a percentage of all keys."),
    "target": ("downhaul.cli.flags_write:target", "Set who always gets one variant, or never."),
    "restore": ("downhaul.cli.flags_write:restore", "Bring an earlier version of a flag back."),
    "delete": ("downhaul.cli.flags_write:delete", "Delete a flag."),
    "import": ("downhaul.cli.flags_files:import_file", "Write the flags of a file."),
    "export": ("downhaul.cli.flags_files:export", "Print all flags as a document."),
    "convert": ("downhaul.cli.flags_files:convert", "Print somebody's flags as our document."),
    "history": ("downhaul.cli.flags:history", "Show who changed what, and how."),
    "stale": ("downhaul.cli.flags:stale", "List flags that have done their work."),
}
_SEGMENTS: Final = {
    "list": ("downhaul.cli.segments:list_segments", "List segments."),
    "show": ("downhaul.cli.segments:show", "Show one segment whole."),
    "set": ("downhaul.cli.segments:set_segment", "Create or change a segment."),
    "delete": ("downhaul.cli.segments:delete", "Delete a segment."),
}
_PROVIDERS: Final = {
    "list": (
        "downhaul.cli.providers:list_providers",
        "List what is installed, and what is broken.",
    ),
}
_CONTRACT: Final = {
    "run": ("downhaul.cli.contract:run", "Run the contract suite on a provider."),
}
_CONFIG: Final = {
    "show": ("downhaul.cli.config:show", "Show every setting and where it came from."),
    "check": ("downhaul.cli.config:check", "Name every problem of the configuration at once."),
}
_DB: Final = {
    "upgrade": ("downhaul.cli.db:upgrade", "Create the tables, or bring them up to date."),
    "check": ("downhaul.cli.db:check", "Say whether the tables are up to date."),
    "sql": ("downhaul.cli.db:sql", "Print the SQL of an upgrade, and run nothing."),
    "roles": ("downhaul.cli.db:roles", "Print grants for an application and an operator."),
}
_MIGRATE: Final = {
    "inventory": ("downhaul.cli.migrate_code:inventory", "Show what there is, and who asks."),
    "plan": ("downhaul.cli.migrate:plan", "Show what moving flags would write, and lose."),
    "show": ("downhaul.cli.migrate:show", "Show a plan, or one flag of it on both sides."),
    "apply": ("downhaul.cli.migrate:apply_file", "Write what a plan says."),
    "revert": ("downhaul.cli.migrate:revert_file", "Take back what applying a plan wrote."),
    "verify": ("downhaul.cli.migrate_verify:verify", "Prove that both sides serve the same."),
    "status": ("downhaul.cli.migrate_stages:status", "Show how far each flag has come."),
    "report": ("downhaul.cli.migrate_report:report", "Show how both sides agree in production."),
    "cutover": ("downhaul.cli.migrate_stages:cutover", "Move flags one stage on, or to more."),
    "back": ("downhaul.cli.migrate_stages:back", "Take flags one stage back at once."),
    "sync": ("downhaul.cli.migrate_stages:sync_flag", "Bring a flag's two sides in step again."),
    "retire": ("downhaul.cli.migrate_code:retire", "Archive a flag on the old side."),
    "forget": ("downhaul.cli.migrate_stages:forget", "Forget that flags were on their way."),
}
_ROLLOUT: Final = {
    "templates": ("downhaul.cli.rollout_templates:list_templates", "List templates of plans."),
    "new": ("downhaul.cli.rollout_templates:new", "Print a plan out of a template."),
    "lint": ("downhaul.cli.rollout_write:lint", "Say what is wrong with a plan, or unwise."),
    "plan": ("downhaul.cli.rollout_write:plan", "Show what a rollout would do, with dates."),
    "rehearse": ("downhaul.cli.rollout_write:rehearse", "Prove the way back before it is needed."),
    "start": ("downhaul.cli.rollout_write:start", "Start a rollout."),
    "list": ("downhaul.cli.rollout:list_rollouts", "List rollouts, and where each stands."),
    "status": (
        "downhaul.cli.rollout:status",
        "Show where a rollout stands; watch it, or wait.",
    ),
    "explain": ("downhaul.cli.rollout:explain", "Tell in words why it stands where it stands."),
    "pause": ("downhaul.cli.rollout:pause", "Hold a rollout where it is."),
    "resume": ("downhaul.cli.rollout:resume", "End a pause; the step bakes anew."),
    "promote": ("downhaul.cli.rollout:promote", "Skip the rest of this step's bake."),
    "approve": ("downhaul.cli.rollout_gates:approve", "Approve the next step."),
    "reject": ("downhaul.cli.rollout_gates:reject", "Say that the next step must not come."),
    "check": ("downhaul.cli.rollout_gates:check", "Tick items of the checklist."),
    "uncheck": ("downhaul.cli.rollout_gates:uncheck", "Take back that items are done."),
    "checklist": ("downhaul.cli.rollout_gates:checklist", "Show what is to be done, and who did."),
    "rollback": ("downhaul.cli.rollout:rollback", "Take a live rollout back at once."),
    "revert": ("downhaul.cli.rollout:revert", "Take a completed rollout back."),
    "cancel": ("downhaul.cli.rollout:cancel", "End a rollout and leave the flag as it is."),
}
_CONTROLLER: Final = {
    "run": ("downhaul.cli.controller:run", "Move rollouts, until it is told to stop."),
}


_ALERTS: Final = {
    "list": ("downhaul.cli.alerts:list_alerts", "List who is told of kills and rollouts."),
    "test": ("downhaul.cli.alerts:test_alerts", "Send a test message to each sink."),
}


class Root(LazyGroup):
    """The whole command line. Ctrl-C ends it with 130, wherever it was."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and exit; with ``standalone_mode=False``, return or raise instead."""
        run = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        try:
            code: object = run()
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            click.echo("interrupted", err=True)
            sys.exit(int(Exit.INTERRUPTED))
        sys.exit(code if isinstance(code, int) else 0)


def _group(name: str, text: str, members: dict[str, tuple[str, str]], example: str) -> LazyGroup:
    return LazyGroup(name=name, help=text, members=members, example=example)


flags = _group(
    "flags", "See and change flags.", _FLAGS, "downhaul flags percent new_agent_version 5"
)
segments = _group("segments", "See and change segments.", _SEGMENTS, "downhaul segments list")
providers = _group(
    "providers", "See which backends there are.", _PROVIDERS, "downhaul providers list"
)
contract = _group(
    "contract",
    "Prove that a provider does what all do.",
    _CONTRACT,
    "downhaul contract run --provider sqlite",
)
config = _group("config", "See and check the configuration.", _CONFIG, "downhaul config check")
db = _group("db", "Look after the tables of a SQL store.", _DB, "downhaul db upgrade")
rollout = _group(
    "rollout",
    "Raise a flag step by step, and take it back.",
    _ROLLOUT,
    "downhaul rollout status new_agent_version -w",
)
migrate = _group(
    "migrate",
    "Move flags from one backend to another.",
    _MIGRATE,
    "downhaul migrate plan --from db --to launchdarkly -o plan.json",
)
controller = _group(
    "controller", "Run what moves rollouts.", _CONTROLLER, "downhaul controller run --once"
)
alerts = _group(
    "alerts", "See and try who is told of kills and rollouts.", _ALERTS, "downhaul alerts test"
)

_ROOT: Final = {
    "flags": ("downhaul.cli.app:flags", "See and change flags."),
    "segments": ("downhaul.cli.app:segments", "See and change segments."),
    "eval": ("downhaul.cli.evaluate:evaluate", "Ask a flag as an application would."),
    "kill": ("downhaul.cli.kills:kill", "Take a feature back at once."),
    "revive": ("downhaul.cli.kills:revive", "Lift a kill."),
    "kills": ("downhaul.cli.kills:kills", "List what is killed, and who obeys."),
    "drill": ("downhaul.cli.drill:drill", "Exercise the kill switch before it is needed."),
    "rollout": ("downhaul.cli.app:rollout", "Raise a flag step by step, and take it back."),
    "migrate": ("downhaul.cli.app:migrate", "Move flags from one backend to another."),
    "controller": ("downhaul.cli.app:controller", "Run what moves rollouts."),
    "alerts": ("downhaul.cli.app:alerts", "See and try who is told of kills and rollouts."),
    "audit": ("downhaul.cli.audit:audit", "Show everything that happened, and follow it."),
    "providers": ("downhaul.cli.app:providers", "See which backends there are."),
    "contract": ("downhaul.cli.app:contract", "Prove that a provider does what all do."),
    "config": ("downhaul.cli.app:config", "See and check the configuration."),
    "db": ("downhaul.cli.app:db", "Look after the tables of a SQL store."),
    "doctor": ("downhaul.cli.doctor:doctor", "Check everything that a kill depends on."),
    "emulate": ("downhaul.cli.emulate:emulate", "Run a vendor's service on this machine."),
    "demo": ("downhaul.cli.demo:demo", "Watch a rollout and a kill under live traffic."),
    "completion": ("downhaul.cli.completion:completion", "Print a shell's completion script."),
}


@click.pass_context
def _remember(context: click.Context, /, **options: Any) -> None:
    context.obj = {name: value for name, value in options.items() if value}


cli = Root(
    name="downhaul",
    help="Ship behind a flag, let it out step by step, and take it back in a second.",
    members=_ROOT,
    example='downhaul kill new_agent_version --reason "error rate at 4 %"',
    params=common_options(),
    callback=_remember,
    no_args_is_help=True,
)
click.version_option(package_name="downhaul", prog_name="downhaul")(cli)
