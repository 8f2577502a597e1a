"""Split's service on loopback: what its server SDKs see, and the admin API that changes it."""

from downhaul_emulators.split.definitions import boolean, buckets, definition_of, rule
from downhaul_emulators.split.emulator import SplitEmulator
from downhaul_emulators.split.matchers import MATCHER_TYPES

__all__ = ["MATCHER_TYPES", "SplitEmulator", "boolean", "buckets", "definition_of", "rule"]
