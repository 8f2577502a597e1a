"""What is wrong with a plan's gates, or unwise about them. Pure.

An error is a gate that nobody could ever open, or one that does not close what it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from downhaul.config.secret import Secret
from downhaul.config.urls import secrets_of
from downhaul.documents.faults import quoted
from downhaul.rollout.gates.checks import OF_THE_PLAN, Scene, look_at
from downhaul.rollout.gates.facts import NOTHING
from downhaul.rollout.gates.model import LONGEST_HOOK_TIMEOUT, Approval, Auto, Hook, When
from downhaul.rollout.gates.times import UnknownZone, Window, never_open, zone_of
from downhaul.rollout.plan import Plan
from downhaul.rollout.results import Advice, Severity
from downhaul.rollout.state import State
from downhaul.rollout.units import percent_text, span_text

_LOCAL: Final = frozenset({"localhost", "localhost.localdomain"})


def gate_advice(plan: Plan) -> Iterator[Advice]:
    """Yield all advice on a plan's gates."""
    yield from _checklist(plan)
    for index, rule in enumerate(plan.gates.approvals):
        yield from _approval(plan, f"approvals[{index}]", rule)
    yield from _freezes(plan.gates.freezes)
    yield from _hooks(plan.gates.hooks)


def _error(path: str, message: str, hint: str = "") -> Advice:
    return Advice(Severity.ERROR, path, message, hint)


def _warning(path: str, message: str, hint: str = "") -> Advice:
    return Advice(Severity.WARNING, path, message, hint)


def _note(path: str, message: str, hint: str = "") -> Advice:
    return Advice(Severity.NOTE, path, message, hint)


# Checklists


def _checklist(plan: Plan) -> Iterator[Advice]:
    seen: set[str] = set()
    scene = Scene(plan, State(), NOTHING, 0)
    for index, item in enumerate(plan.gates.checklist):
        path = f"checklist[{index}]"
        if item.id in seen:
            yield _error(path, f"the item {quoted(item.id)} is there twice", "give it another id")
        seen.add(item.id)
        if not item.text.strip():
            yield _error(path, "it doesn't say what is to be done", "give it a text")
        if item.auto in OF_THE_PLAN:
            looked = look_at(item, scene)
            if not looked.good and item.required and item.when is not When.AFTER:
                yield _error(path, f"it never ticks itself: {looked.message}", looked.hint)
        elif item.auto is Auto.METRICS and not plan.checks:
            yield _error(path, "it never ticks itself: nothing is measured", "add a guardrail")
        elif item.auto in (Auto.EVERYBODY, Auto.WATCHED) and item.when is not When.AFTER:
            message = f"{item.auto} is so only once the rollout is completed"
            yield _error(path, message, 'say when = "after"')
    if plan.gates.items(When.DURING) and len(plan.steps) == 1:
        message = "what is to be done at each step is for the next one, and there is none"
        yield _warning("checklist", message, 'say when = "before" or "after"')


# Approvals


def _approval(plan: Plan, path: str, rule: Approval) -> Iterator[Advice]:
    if not rule.by:
        yield _error(f"{path}.by", "nobody may approve", "name actors or groups")
    elif rule.count > len(rule.by):
        message = f"it takes {rule.count} people, and {len(rule.by)} name is there"
        if len(rule.by) != 1:
            message = f"it takes {rule.count} people, and {len(rule.by)} names are there"
        yield _warning(f"{path}.count", message, "is one of them a group?")
    if rule.count < 1:
        yield _error(f"{path}.count", "an approval by nobody is none", "at least 1")
    for number in rule.steps:
        if not 1 <= number <= len(plan.steps):
            message = f"there is no step {number}: there are {len(plan.steps)}"
            yield _error(f"{path}.steps", message, "steps count from 1")
    if rule.at_least is not None:
        weights = [one.weight for one in plan.steps if not one.preview]
        if weights and rule.at_least > max(weights):
            message = f"no step reaches {percent_text(rule.at_least)}"
            yield _error(f"{path}.percent", message, f"the last is {percent_text(max(weights))}")


# Freezes


def _freezes(windows: tuple[Window, ...]) -> Iterator[Advice]:
    wrong = [found for index, one in enumerate(windows) for found in _freeze(index, one)]
    yield from wrong
    if not wrong and never_open(windows):
        yield _error("freeze", "together they never end", "leave a gap between them")


def _freeze(index: int, one: Window) -> Iterator[Advice]:
    path = f"freeze[{index}]"
    if one.weekly is not None:
        if one.weekly.minutes >= 7 * 24 * 60:
            yield _error(path, "it ends when it begins, and is the whole week", "leave a gap")
        try:
            zone_of(one.weekly.zone)
        except UnknownZone as error:
            yield _error(f"{path}.weekly", str(error))
    elif one.end is None:
        hint = "give it an until" if one.begin is not None else 'give it times, or weekly = "..."'
        yield _error(path, "it never ends", hint)
    elif one.begin is not None and one.begin >= one.end:
        yield _error(path, "it ends before it begins", "exchange from and until")


# Services


def _hooks(hooks: tuple[Hook, ...]) -> Iterator[Advice]:
    seen: set[str] = set()
    for index, one in enumerate(hooks):
        path = f"hooks[{index}]"
        if one.name in seen:
            yield _error(path, f"the hook {quoted(one.name)} is there twice", "name it otherwise")
        seen.add(one.name)
        if not 0 < one.timeout <= LONGEST_HOOK_TIMEOUT:
            message = f"a service is waited for {span_text(LONGEST_HOOK_TIMEOUT)} at most"
            yield _error(f"{path}.timeout", message, "answer 202 or 503, and be asked again")
        if one.url.kind == "text":
            yield from _url(f"{path}.url", one.url.text)
        if one.secret is None:
            message = "it can't tell who asks: nothing is signed"
            yield _note(path, message, 'secret = { env = "NAME" } signs each request')


def _url(path: str, url: str) -> Iterator[Advice]:
    if wrong := wrong_url(url):
        yield _error(path, wrong)
    if secrets_of(url):
        message = "it holds a secret, and everybody reads a plan"
        yield _error(path, message, 'write it as { env = "NAME" }')


def wrong_url(url: str | Secret) -> str:
    """Return why a service must not be asked at this URL, without telling the URL; or nothing."""
    text = url.reveal() if isinstance(url, Secret) else url
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        return "it is no URL: write https://..."
    if parts.scheme not in ("http", "https") or not host:
        return "it is no URL of the web: write https://..."
    if parts.scheme == "http" and not _is_local(host):
        return "what it says travels in the clear: write https://, or name localhost"
    return ""


def _is_local(host: str) -> bool:
    if host.lower() in _LOCAL:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
