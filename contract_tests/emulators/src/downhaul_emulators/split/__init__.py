"""Split's service on loopback: what its server SDKs see, and the admin API that changes it."""

from downhaul_emulators.split.definitions import boolean, buckets, definition_of, rule
from downhaul_emulators.split.emulator import SplitEmulator

__all__ = ["SplitEmulator", "boolean", "buckets", "definition_of", "rule"]
