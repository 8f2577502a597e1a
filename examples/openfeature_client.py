"""Code that asks OpenFeature, answered by Downhaul: reasons, events, and a kill that holds."""

import threading

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent

from downhaul import Flag, Flags
from downhaul.integrations.openfeature import DownhaulProvider

flags = Flags.in_memory([Flag.boolean("new_checkout", percent=50)])
api.set_provider_and_wait(DownhaulProvider(flags))
client = api.get_client()

for user in ("anna", "ben"):
    details = client.get_boolean_details("new_checkout", False, EvaluationContext(user))
    print(f"new_checkout for {user}:", details.value, details.variant, details.reason)

# A flag of another type, and one that is not there, are the caller's default, and say so.
anna = EvaluationContext("anna", {"plan": "pro"})
print("as a number:", client.get_integer_details("new_checkout", 7, anna).error_code)
print("no such flag:", client.get_string_details("greeting", "Hello").error_code)

changed = threading.Event()


def tell(event: EventDetails) -> None:
    """Say which flags changed."""
    print("changed:", event.flags_changed)
    changed.set()


client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, tell)
flags.operator("anna").kill("new_checkout", "orders fail")
changed.wait(5)

details = client.get_boolean_details("new_checkout", True, anna)
print("killed:", details.value, details.reason, details.flag_metadata["kill.reason"])

api.shutdown()
flags.close()
