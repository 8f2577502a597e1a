"""Let a feature out step by step, take it back at once, and begin again with care."""

from downhaul import Flag, Flags

flags = Flags.in_memory([Flag.boolean("new_agent_version", percent=0)])
operator = flags.operator("ana")
users = [f"user-{number}" for number in range(10_000)]


def served() -> set[str]:
    """Return who gets the new version now."""
    return {user for user in users if flags.is_enabled("new_agent_version", user)}


before = served()
for percent in (1, 5, 25):
    operator.percent("new_agent_version", percent, reason=f"step to {percent} %")
    now = served()
    print(f"{percent:3} %: {len(now):5} users, {len(before - now)} of them lost it")
    before = now

kill = operator.kill("new_agent_version", reason="refund loop")
print(f"killed by {kill.actor}: {len(served())} users")

operator.revive("new_agent_version", reason="fixed")
print(f"revived: {len(served())} users, as at 1 %")

for entry in operator.history("new_agent_version", limit=3):
    print("history:", entry.record.action, "by", entry.record.actor, "-", entry.record.reason)
