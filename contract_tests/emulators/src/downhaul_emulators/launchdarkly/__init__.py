"""LaunchDarkly's service as its server SDKs see it: the stream, polling, events."""

from downhaul_emulators.launchdarkly.emulator import LaunchDarklyEmulator
from downhaul_emulators.launchdarkly.flags import boolean, flag_of

__all__ = ["LaunchDarklyEmulator", "boolean", "flag_of"]
