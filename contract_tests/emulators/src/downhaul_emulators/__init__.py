"""Vendors' services on loopback, for tests and local development: the SDK's wire protocol.

What the real services do beyond their documented protocol is not here. Faults are: a status, a
delay, silence, a dropped stream, a server that is gone and comes back.
"""

from downhaul_emulators.launchdarkly import LaunchDarklyEmulator
from downhaul_emulators.serving import Fault, Request
from downhaul_emulators.split import SplitEmulator

__all__ = ["Fault", "LaunchDarklyEmulator", "Request", "SplitEmulator"]
