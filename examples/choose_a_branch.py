"""Choose between implementations by variant, and keep the old one for when nothing is known."""

from downhaul import Flag, Flags


class AgentV1:
    """What everybody had so far."""


class AgentV2:
    """What some are to have."""


branches = {"on": AgentV2, "off": AgentV1}
flags = Flags.in_memory([Flag.boolean("new_agent_version", allow=["anna"], percent=0)])

for user in ("anna", "ben"):
    print(user, flags.choose("new_agent_version", user, branches).__name__)

flags.operator("sam").kill("new_agent_version", reason="refund loop")
print("anna", flags.choose("new_agent_version", "anna", branches).__name__)
print("no such flag:", flags.choose("newer_agent", "anna", branches).__name__)
