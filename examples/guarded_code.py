"""Guard code that has no flag by a named switch, which stops it in every process."""

import asyncio

from downhaul import Flags

flags = Flags.in_memory()
operator = flags.operator("sam")


@flags.guarded_by("agent", otherwise="The assistant is away.")
def answer(question: str) -> str:
    """Answer, unless somebody took the switch down."""
    return f"Here is what I know about {question}."


@flags.guarded_by("mail", otherwise=lambda address: f"queued for {address}")
async def send(address: str) -> str:
    """Send, or put into the queue."""
    await asyncio.sleep(0)
    return f"sent to {address}"


print(answer("refunds"))
operator.kill("switch:agent", reason="runs away")
print(answer("refunds"))
operator.revive("switch:agent", reason="fixed")
print(answer("refunds"))

print(asyncio.run(send("anna")))
operator.kill("*", reason="all hands")
print(asyncio.run(send("anna")))
print("is the switch up?", flags.is_up("mail"))
