"""From each backend to each other one, and nobody's variant changes on the way.

The SDKs are the vendors' own, and so is Unleash's server; LaunchDarkly's and Split's services are
emulated. What was measured is beside each test's name in the run's report. `DOWNHAUL_PAIRS_USERS`
says how many users are asked about, 2,000 unless set.
"""

import itertools
import os

import pytest
from downhaul_emulators import LaunchDarklyEmulator
from downhaul_emulators.split import SplitEmulator
from fixtures_unleash import ADMIN_TOKEN, BACKEND_TOKEN

from downhaul.backends.memory_control import MemoryControl
from downhaul.client.flags import Flags
from downhaul.config import Declaration, resolve
from downhaul.context import Context
from downhaul.flag import Clause, Flag, FlagKind, Operator, Rule, Split, Weight
from downhaul.ledger import Fidelity
from downhaul.migrate.plan import write_plan
from downhaul.migrate.planning import Choice
from downhaul.migrate.service import Accepted, apply, make_plan
from downhaul.migrate.sides import reading, side_settings
from downhaul.plugins import build_provider
from downhaul.provider import Change
from downhaul.store import schema

ANA = Change("ana", "before the move")
BACKENDS = ("launchdarkly", "split", "unleash", "sqlite")
USERS = [f"user-{number}" for number in range(int(os.environ.get("DOWNHAUL_PAIRS_USERS", "2000")))]
COLOURS = {"red": "red", "blue": "blue"}

pytestmark = [pytest.mark.slow, pytest.mark.rule("E9", "M1")]


def flags_of(stem, source):
    """Return flags in the middle of their rollouts, by the hash of the backend that they are at."""
    pro = Clause("plan", Operator.IN, ("pro",))
    made = [
        Flag.boolean(f"{stem}-quarter", percent=25),
        Flag.boolean(f"{stem}-half", percent=50),
        Flag.boolean(f"{stem}-listed", percent=10, allow=USERS[:3], deny=USERS[3:6]),
        Flag.boolean(f"{stem}-off", percent=50, on=False),
        Flag.boolean(f"{stem}-all"),
    ]
    if source != "unleash":  # where rules are made by hand
        rule = Rule("on", (pro,), id="pro")
        made.append(Flag.boolean(f"{stem}-rules", percent=30, rules=(rule,)))
        colours = Split((Weight("red", 30_000), Weight("blue", 70_000)))
        made.append(
            Flag(
                key=f"{stem}-colours",
                kind=FlagKind.STRING,
                variants=COLOURS,
                off_variant="blue",
                default=colours,
                on=True,
            )
        )
    return {one.key: one for one in made}


@pytest.fixture
def tables(request, tmp_path, unleash):
    """Return the tables of `[backends]`: two emulators, the real Unleash, and a file of our own."""
    with (
        LaunchDarklyEmulator(sdk_key="sdk-ld") as launchdarkly,
        SplitEmulator(sdk_key="sdk-split") as split,
    ):
        yield {
            "launchdarkly": {
                "url": f"launchdarkly+{launchdarkly.url}",
                "sdk_key": "sdk-ld",
                "admin_token": launchdarkly.admin_token,
                "admin_url": launchdarkly.url,
                "project": launchdarkly.project,
                "environment": launchdarkly.environment,
            },
            "split": {
                "url": f"split+{split.url}",
                "sdk_key": "sdk-split",
                "admin_token": split.admin_token,
                "admin_url": split.admin_url,
                "workspace": split.workspace,
                "environment": split.environment,
            },
            "unleash": {
                "url": f"unleash+{unleash.url.removesuffix('/api')}",
                "token": BACKEND_TOKEN,
                "admin_token": ADMIN_TOKEN,
                "refresh": 0.2,
            },
            "sqlite": {"url": f"sqlite:///{tmp_path}/flags.db"},
        }


def served(settings, name, kinds, contexts):
    """Return the value that each flag has for each context, as the backend's own SDK decides."""
    with reading(side_settings(settings, name)) as provider:
        known = {key: Declaration(kind=kind) for key, kind in kinds.items()}
        with Flags.over(
            provider, control=MemoryControl(), declarations=known, ready_within=20
        ) as flags:
            assert flags.status().state == "READY"
            return {
                key: [flags.evaluate(key, context, None).value for context in contexts]
                for key in kinds
            }


@pytest.mark.parametrize("source, target", list(itertools.permutations(BACKENDS, 2)))
def test_nobody_flips(tables, tmp_path, unleash, source, target, record_property):
    stem = unleash.fresh_name("m")
    settings = resolve(
        {
            "environment": "default",
            "provider": {"url": f"sqlite:///{tmp_path}/control.db"},
            "backends": tables,
        },
        environ={},
        directory=tmp_path,
    )
    flags = flags_of(stem, source)
    provider = build_provider(side_settings(settings, source))
    if source == "sqlite":
        schema.upgrade(provider.database)
    for flag in flags.values():
        provider.put(flag, ANA)
    provider.close()
    unleash.settle()

    plan = make_plan(settings, source, target, choice=Choice(only=(f"{stem}-*",)))
    write_plan(plan, tmp_path / "plan.json")
    moving = [one for one in plan.items if one.key in flags]
    assert len(moving) == len(flags)
    unwritten = {one.key: list(map(str, one.losses)) for one in moving if not one.writes}
    assert not unwritten
    applied = apply(
        settings, tmp_path / "plan.json", actor="ana", accepted=Accepted(("rules", "tags"))
    )
    assert applied.whole, [(one.item.key, one.error) for one in applied.rows if one.error]
    again = apply(
        settings, tmp_path / "plan.json", actor="ana", accepted=Accepted(("rules", "tags"))
    )
    assert again.whole
    assert {one.outcome for one in again.rows if one.item.key in flags} == {"unchanged"}
    unleash.settle()

    contexts = [
        Context(user, {"plan": "pro" if number % 5 == 0 else "free"})
        for number, user in enumerate(USERS)
    ]
    kinds = {key: flag.kind for key, flag in flags.items()}
    before = served(settings, source, kinds, contexts)
    after = served(settings, target, kinds, contexts)
    flipped = {
        key: sum(one != other for one, other in zip(before[key], after[key], strict=True))
        for key in flags
    }
    counts = {one: sum(item.fidelity is one for item in moving) for one in Fidelity}
    named = {one.value: count for one, count in counts.items() if count}
    told = f"{len(flags)} flags, {named}, flipped"
    record_property(f"{source} to {target}", f"{told} {sum(flipped.values())} of {len(USERS)}")
    assert not any(flipped.values()), flipped
    quarter = sum(one is True for one in before[f"{stem}-quarter"]) / len(USERS)
    assert 0.2 < quarter < 0.3
