"""Read a plan, see what is said about it, when its steps would come, and prove the way back."""

from datetime import UTC, datetime
from pathlib import Path

from downhaul import Flag
from downhaul.flag import FlagKind, FlagSet
from downhaul.rollout.lint import lint
from downhaul.rollout.planfile import make_plan, read_plan
from downhaul.rollout.rehearsal import rehearse
from downhaul.rollout.schedule import schedule

plan = read_plan(Path(__file__).parent / "rollout_plan.toml")
flag = Flag(
    key="new_agent_version",
    kind=FlagKind.STRING,
    variants={"v1": "agent-1", "v2": "agent-2"},
    off_variant="v1",
    default="v1",
    owner="agents",
    description="Which agent answers",
)

print("the file:", len(plan.steps), "steps,", [check.name for check in plan.guardrails])
print("said about it:", [str(one.message) for one in lint(plan, flag)])

for step in schedule(plan, datetime(2026, 3, 2, 9, tzinfo=UTC)):
    print(
        f"{step.percent:5g} %  {step.enters:%d %b %H:%M}, at the latest {step.enters_latest:%d %b}"
    )

found = rehearse(plan, flag, FlagSet.of([flag]))
print("rehearsed with", found.population, "contexts; the way back holds:", found.held)

hasty = make_plan(flag="new_agent_version", variant="v2", steps="50,20", bake="5s", latency="1s")
for advice in lint(hasty, flag):
    print(f"{advice.severity}: {advice.path}: {advice.message}")
