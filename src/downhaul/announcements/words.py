"""The words of each event, as they are unless the configuration has others."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from downhaul.announcements.severity import EVENTS
from downhaul.announcements.templates import Template

_TITLES: Final[Mapping[str, str]] = {
    "killed": "{flag} is killed in {environment}",
    "revived": "{flag} is revived in {environment}",
    "not_switched_off": "{flag} is killed, and not switched off at {provider} yet",
    "switched_off": "{flag} is switched off at {provider}",
    "kill_ends_soon": "The kill of {flag} in {environment} is about to end",
    "kill_ended": "The kill of {flag} in {environment} is past its end, and stays",
    "planned": "Rollout of {flag} in {environment} is planned",
    "started": "Rollout of {flag} in {environment} started: {reason}",
    "raised": "Rollout of {flag} in {environment} increased: {reason}",
    "promoted": "Rollout of {flag} in {environment}: the rest of a bake is skipped",
    "resumed": "Rollout of {flag} in {environment} goes on",
    "completed": "Rollout of {flag} in {environment} is complete",
    "cancelled": "Rollout of {flag} in {environment} is cancelled",
    "metrics_found": "Rollout of {flag} in {environment} has metrics again",
    "approved": "A step of the rollout of {flag} in {environment} is approved",
    "rejected": "A step of the rollout of {flag} in {environment} is rejected",
    "hook_confirmed": "A service confirmed the rollout of {flag} in {environment}",
    "hook_waits": "The rollout of {flag} in {environment} waits for a service",
    "paused": "Rollout of {flag} in {environment} is paused",
    "held": "Rollout of {flag} in {environment} is held",
    "metrics_lost": "Rollout of {flag} in {environment} has no metrics",
    "stuck": "Rollout of {flag} in {environment} is stuck",
    "drift": "{flag} in {environment} was changed by hand during its rollout",
    "stopped": "Rollout of {flag} in {environment} ended: the flag is killed",
    "rolling_back": "Rolling {flag} back in {environment}",
    "reverting": "Reverting {flag} in {environment}",
    "exposure_off": "{flag} is off in {environment}, and will be restored",
    "rolled_back": "{flag} is rolled back in {environment}",
    "reverted": "{flag} is reverted in {environment}",
    "latched": "{flag} is off in {environment}, and not restored",
    "not_rolled_back": "{flag} in {environment} is still not rolled back",
    "late_write": "A write of the rollout of {flag} in {environment} came after its end",
    "test": "Test of alerts in {environment}",
}
_LEADS: Final[Mapping[str, str]] = {
    "killed": "Everybody gets the safe variant, until somebody revives it.",
    "revived": "It is served again.",
    "not_switched_off": (
        "The kill holds for whoever reads it. {provider} did not switch the flag off for "
        "{seconds} s: {error}"
    ),
    "switched_off": "{provider} switched it off {seconds} s after the kill.",
    "kill_ends_soon": "To keep it, kill it again.",
    "kill_ended": "Nobody but a person lifts it now.",
    "started": 'Variant "{variant}" is served to its first users.',
    "raised": 'Variant "{variant}" is served to more users.',
    "completed": "The last step baked, and nothing was worse.",
    "cancelled": "The flag stays as it is.",
    "stuck": "The backend does not do what it is asked; it is tried again.",
    "stopped": "The rollout does not go on when the flag is revived.",
    "rolling_back": 'Variant "{variant}" goes off first; then the flag is restored as it was.',
    "reverting": 'Variant "{variant}" goes off first; then the flag is restored as it was.',
    "rolled_back": 'Variant "{variant}" is off, and the flag is as it was before the rollout.',
    "reverted": 'Variant "{variant}" is off, and the flag is as it was before the rollout.',
    "latched": "Somebody changed the flag since, and a restore would undo that: {changed}",
    "not_rolled_back": "The backend stands in the way; it is tried again, without an end.",
    "late_write": "It had been sent before, and arrived late.",
    "drift": "The rollout takes nothing back that somebody did by hand, and raises nothing.",
    "test": "Who reads this hears of kills and rollouts in {environment}.",
}
_EXPLAINED: Final = frozenset({"paused", "held", "metrics_lost", "stuck", "drift", "latched"})
_COMMANDS: Final[Mapping[str, str]] = {
    "killed": 'downhaul revive {flag} {where} --reason "..."',
    "revived": 'downhaul kill {flag} {where} --reason "..."',
    "not_switched_off": "downhaul flags off {flag} {where}",
    "switched_off": "downhaul flags show {flag} {where}",
    "not_rolled_back": "downhaul flags off {flag} {where}",
    "late_write": "downhaul flags show {flag} {where}",
    "kill_ends_soon": 'downhaul kill {flag} {where} --reason "..."',
    "kill_ended": 'downhaul revive {flag} {where} --reason "..."',
    "test": "downhaul alerts list {where}",
}

_TEXT: Final = """\
Why: {reason}
By: {actor}
When: {at}
See: {link}
Type: {command}
Id: {id}
"""
_MARKDOWN: Final = """\
- Why: {reason}
- By: {actor}
- When: {at}
- See: <{link}>
- Type: `{command}`
- Id: {id}
"""


def _template(what: str) -> Template:
    lead = _LEADS.get(what, "")
    verb = "explain" if what in _EXPLAINED else "status"
    return Template(
        title=f"[{{severity}}] {_TITLES[what]}",
        text=f"{lead}\n{_TEXT}" if lead else _TEXT,
        markdown=f"{lead}\n\n{_MARKDOWN}" if lead else _MARKDOWN,
        command=_COMMANDS.get(what, f"downhaul rollout {verb} {{rollout}} {{where}}"),
    )


TEMPLATES: Final[Mapping[str, Template]] = MappingProxyType(
    {what: _template(what) for what in EVENTS}
)
"""The template of every event."""

UNKNOWN: Final = Template(
    title="[{severity}] {event}: {flag} in {environment}",
    text=_TEXT,
    markdown=_MARKDOWN,
    command="downhaul audit {where}",
)
"""For what only a newer version announces."""
