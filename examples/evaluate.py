"""Ask a flag: yes or no, a value, or everything there is to know about the answer."""

from downhaul import Context, Flag, Flags
from downhaul.flag import FlagKind

flags = Flags.in_memory(
    [
        Flag.boolean("new_checkout", percent=50),
        Flag(
            key="greeting",
            kind=FlagKind.STRING,
            variants={"warm": "Hello, friend!", "curt": "Hi."},
            off_variant="curt",
            default="warm",
            on=True,
        ),
    ]
)

for user in ("anna", "ben", "carla", "dora"):
    print(f"new_checkout for {user}:", flags.is_enabled("new_checkout", user))

print("greeting:", flags.value("greeting", "anna", default="..."))

# The default says which type is wanted. What is unknown, or of another type, is the default.
print("greeting as a number:", flags.value("greeting", "anna", default=0))
print("no such flag:", flags.value("greting", "anna", default="..."))

result = flags.evaluate("new_checkout", Context("anna", {"plan": "pro"}), default=False)
print("all of it:", result.value, result.variant, result.reason, result.authoritative)

for flag, one in flags.evaluate_all("anna").items():
    print("at once:", flag, one.variant)
