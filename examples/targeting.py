"""Choose who gets what: single users, rules on attributes, segments, and a share of the rest."""

from downhaul import Context, Flag, Flags, Segment
from downhaul.flag import Clause, Keys, Operator, Rule, SegmentRule, percentage

beta = Segment(
    key="beta",
    included=(Keys(frozenset({"anna", "ben"})),),
    rules=(SegmentRule((Clause("email", Operator.ENDS_WITH, ("@example.com",)),)),),
)
checkout = Flag.boolean(
    "new_checkout",
    allow=["ceo"],
    deny=["customer-17"],
    rules=(
        Rule("on", (Clause("", Operator.IN_SEGMENT, ("beta",)),), id="beta"),
        Rule("off", (Clause("/address/country", Operator.IN, ("DE", "AT")),), id="not yet there"),
        Rule("on", (Clause("app", Operator.SEMVER_GREATER_OR_EQUAL, ("2.0.0",)),), id="new app"),
    ),
    default=percentage("on", 10, rest="off"),
)
flags = Flags.in_memory([checkout], [beta])

for context in (
    Context("ceo"),
    Context("customer-17", {"email": "it@example.com"}),
    Context("ben"),
    Context("carla", {"email": "carla@example.com"}),
    Context("dora", {"address": {"country": "DE"}, "app": "2.1.0"}),
    Context("emil", {"app": "2.1.0"}),
    Context("emil", {"app": "1.9.9"}),
):
    result = flags.evaluate("new_checkout", context)
    why = result.metadata.get("rule", "")
    print(f"{context.targeting_key:12} {result.variant:4} {result.reason} {why}".rstrip())

print()
print(flags.explain("new_checkout", Context("dora", {"address": {"country": "DE"}})))
